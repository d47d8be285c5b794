package server

// Unmarshal reads one JSON value, as the bodies of typed operations are read: it refuses what nests too deep.
func Unmarshal(data []byte, into any) error { return unmarshal(data, into) }
