"""Many images: a manifest, a queue within a budget, one `imgfix apply` an image, and result files to go on from."""
