package audit

import "tutela/storage/meter"

var (
	eventsRecorded = meter.NewCounter("tutela_events_total",
		"Events that were recorded, by type. One that stands for several counts once.", meter.Words("type", types...))
	eventsFolded = meter.NewCounter("tutela_events_folded_total",
		"Occurrences that were counted into an event that stands for several, by type.", meter.Words("type", types...))
)
