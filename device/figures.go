package device

import "tutela/storage/meter"

// The words for what becomes of tickets and enrollments in figures.
const (
	ticketMade  = "made"
	ticketSpent = "spent"
	endedLeft   = "left"    // by its device token alone: it may come back
	endedForAll = "retired" // for good; a reset is counted by itself
)

// What is counted of tickets and enrollments.
var (
	ticketsCounted = meter.NewCounter("tutela_tickets_total",
		"Tickets that were made for users, and tickets that enrolled a phone.", meter.Words("outcome", ticketMade, ticketSpent))
	Enrollments = meter.NewCounter("tutela_enrollments_total",
		"Enrollments that were made, by the way in which the phone came.",
		meter.Words("via", ViaPage, ViaTicket, ViaEnrolmentToken, ViaRestore, ViaImport))
	EnrollmentsEnded = meter.NewCounter("tutela_enrollments_ended_total",
		"Enrollments that ended but by a reset: left by the device token alone, or retired.",
		meter.Words("outcome", endedLeft, endedForAll))
)
