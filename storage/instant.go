package storage

import "time"

// InstantLayout is how an instant in UTC is written on every wire and in every document: RFC 3339 with exactly three
// digits of a fraction and a Z. Android's Guardian SDK drops a push whose time has any other form.
const InstantLayout = "2006-01-02T15:04:05.000Z"

// FormatInstant writes an instant by [InstantLayout].
func FormatInstant(at time.Time) string { return at.UTC().Format(InstantLayout) }
