"""Features: Φ along the path of an update (test side) and g per sample (train side), for any model and target."""
