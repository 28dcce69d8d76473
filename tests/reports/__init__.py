"""Tests of imgfix.reports."""
