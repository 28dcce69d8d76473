"""Tests of imgfix.commands."""
