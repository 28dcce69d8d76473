#!/bin/bash
# One array task an image:
#   sbatch --array=0-$(($(imgfix batch manifest.yaml --list | wc -l) - 1)) slurm-array.sh manifest.yaml
#SBATCH --job-name=imgfix
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --output=imgfix-%a.log
# srun hands Slurm's SIGTERM to imgfix, which then ends its appliance in good order.
exec srun imgfix batch "$1" --index
