"""The actor's gradient of a run against true MuJoCo dynamics, as the run grows older."""
