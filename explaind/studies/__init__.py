"""Studies: analyses of recorded runs and influence scores, one file each; arrays in, numbers out."""
