"""Studies: questions asked of influence scores, one file each; arrays in, numbers out."""
