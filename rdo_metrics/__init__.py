"""What is a distortion worth? Measures, Bjontegaard deltas, and the maps that tell an encoder. No networks in here."""
