package main

import (
	"encoding/json"
	"time"

	"tutela/device/phone"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/server/operator"
	"tutela/storage"
)

// instant is a time as the APIs write it, and JSON for scripts too: RFC 3339 with milliseconds and Z.
type instant time.Time

// MarshalJSON writes the time.
func (i instant) MarshalJSON() ([]byte, error) {
	return json.Marshal(storage.FormatInstant(time.Time(i)))
}

// IsZero reports whether there is no time.
func (i instant) IsZero() bool { return time.Time(i).IsZero() }

// What is printed for scripts is what the calls return, with its times as instants: in JSON a member of the outer struct
// hides the one of the same name in the embedded struct.
type (
	clientJSON struct {
		operator.ListedClient
		Created  instant `json:"created"`
		LastUsed instant `json:"last_used,omitzero"`
	}
	userJSON struct {
		admin.Profile
		Created   instant `json:"created"`
		Updated   instant `json:"updated"`
		LastLogin instant `json:"last_login,omitzero"`
	}
	userDetailJSON struct {
		operator.UserDetail
		Created     instant          `json:"created"`
		Updated     instant          `json:"updated"`
		LastLogin   instant          `json:"last_login,omitzero"`
		Enrollments []enrollmentJSON `json:"enrollments"`
		Backups     []backupJSON     `json:"backups"`
		Tickets     []ticketJSON     `json:"tickets"`
		Blocks      []blockJSON      `json:"blocks"`
		Mutes       []muteJSON       `json:"mutes"`
		Spent       []spentJSON      `json:"spent_pushes"`
		Restores    []restoreJSON    `json:"restores"`
	}
	backupJSON struct {
		operator.Backup
		Updated instant `json:"updated"`
		Deleted instant `json:"deleted,omitzero"`
	}
	ticketJSON struct {
		operator.OpenTicket
		Created instant `json:"created"`
		Expires instant `json:"expires"`
	}
	spentJSON struct {
		operator.Spent
		Until instant `json:"until"`
	}
	muteJSON struct {
		operator.Mute
		Until instant `json:"until"`
	}
	restoreJSON struct {
		operator.Restore
		Started   instant `json:"started"`
		WaitUntil instant `json:"wait_until,omitzero"`
	}
	enrollmentJSON struct {
		operator.Enrollment
		Enrolled instant `json:"enrolled_at"`
		LastAuth instant `json:"last_auth,omitzero"`
		Lost     instant `json:"push_lost_at,omitzero"`
	}
	blockJSON struct {
		Channel string  `json:"channel"`
		Until   instant `json:"until"`
	}
	eventJSON struct {
		operator.Event
		Time   instant    `json:"time"`
		Folded foldedJSON `json:"folded,omitzero"`
	}
	foldedJSON struct {
		Count int     `json:"count"`
		First instant `json:"first"`
		Last  instant `json:"last"`
	}
	approvalJSON struct {
		phone.Approval
		Started instant `json:"d"`
	}
	noticeJSON struct {
		phone.Notice
		At instant `json:"d"`
	}
)

func clientForScripts(c operator.ListedClient) clientJSON {
	return clientJSON{c, instant(c.Created), instant(c.LastUsed)}
}

func userForScripts(u admin.Profile) userJSON {
	return userJSON{u, instant(u.Created), instant(u.Updated), instant(u.LastLogin)}
}

func userDetailForScripts(u operator.UserDetail) userDetailJSON {
	return userDetailJSON{
		UserDetail:  u,
		Created:     instant(u.Created),
		Updated:     instant(u.Updated),
		LastLogin:   instant(u.LastLogin),
		Enrollments: each(u.Enrollments, enrollmentForScripts),
		Backups:     each(u.Backups, func(b operator.Backup) backupJSON { return backupJSON{b, instant(b.Updated), instant(b.Deleted)} }),
		Tickets: each(u.Tickets, func(t operator.OpenTicket) ticketJSON {
			return ticketJSON{t, instant(t.Created), instant(t.Expires)}
		}),
		Blocks: each(u.Blocks, func(b recovery.Block) blockJSON { return blockJSON{string(b.Channel), instant(b.Until)} }),
		Mutes:  each(u.Mutes, func(m operator.Mute) muteJSON { return muteJSON{m, instant(m.Until)} }),
		Spent:  each(u.Spent, func(b operator.Spent) spentJSON { return spentJSON{b, instant(b.Until)} }),
		Restores: each(u.Restores, func(r operator.Restore) restoreJSON {
			return restoreJSON{r, instant(r.Started), instant(r.WaitUntil)}
		}),
	}
}

func enrollmentForScripts(e operator.Enrollment) enrollmentJSON {
	return enrollmentJSON{e, instant(e.Enrolled), instant(e.LastAuth), instant(e.Lost)}
}

func eventForScripts(e operator.Event) eventJSON {
	return eventJSON{
		Event:  e,
		Time:   instant(e.Time),
		Folded: foldedJSON{e.Folded.Count, instant(e.Folded.First), instant(e.Folded.Last)},
	}
}

func approvalForScripts(a phone.Approval) approvalJSON { return approvalJSON{a, instant(a.Started)} }

func noticeForScripts(n phone.Notice) noticeJSON { return noticeJSON{n, instant(n.At)} }

// each applies of to every item. The list is never nil, so JSON shows [] and not null.
func each[T, U any](items []T, of func(T) U) []U {
	list := make([]U, 0, len(items))
	for _, item := range items {
		list = append(list, of(item))
	}
	return list
}
