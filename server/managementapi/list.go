package managementapi

import (
	"encoding/base64"
	"encoding/json"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"tutela/storage"
)

// maxPaged is how far page reaches into a list, and how far the totals of a search count. Beyond it from and take go on.
//
// Source: Auth0 Management API v2, users, "page" and "include_totals".
const maxPaged = 1000

// maxListed bounds the events that a list by page looks at.
const maxListed = 10_000

// instant is a time as this API writes it: RFC 3339 with milliseconds and Z.
type instant struct{ time.Time }

// MarshalJSON writes the time.
func (i instant) MarshalJSON() ([]byte, error) { return json.Marshal(storage.FormatInstant(i.Time)) }

// Schema describes the time.
func (instant) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
}

// Paging asks for a list by page, counted from 0.
type Paging struct {
	Page          int  `query:"page" minimum:"0" doc:"Counts from 0."`
	PerPage       int  `query:"per_page" minimum:"1" maximum:"100" default:"50"`
	IncludeTotals bool `query:"include_totals" doc:"Answer an object with start, limit, length and total."`
}

// Checkpoint asks for a list from where the last answer ended. It wins over a page.
type Checkpoint struct {
	From string `query:"from" doc:"The next of the answer before."`
	Take int    `query:"take" minimum:"1" maximum:"100" doc:"How many, with from."`
}

func (c Checkpoint) wins() bool { return c.From != "" || c.Take > 0 }

func (c Checkpoint) take() int {
	if c.Take == 0 {
		return 50
	}
	return c.Take
}

// skip returns the number of items before the page.
//
// Errors: errPaging, for a page past maxPaged.
func (p Paging) skip() (int, error) {
	if p.Page > maxPaged/p.PerPage {
		return 0, errPaging
	}
	return p.Page * p.PerPage, nil
}

// cursor encodes the last item's id for the caller to send back.
func cursor(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

func readCursor(from string) (string, error) {
	id, err := base64.RawURLEncoding.Strict().DecodeString(from)
	if err != nil {
		return "", errQuery.With("from is not the next of an answer")
	}
	return string(id), nil
}

// list is the answer to a list call in one of its three shapes.
type list[T any] struct {
	name  string
	items []T
	shape any // nil: the bare array; totals or continued: an object
}

type totals struct {
	Start  int `json:"start"`
	Limit  int `json:"limit"`
	Length int `json:"length"`
	Total  int `json:"total"`
}

type continued struct {
	Next string `json:"next,omitempty"`
}

// listed makes the answer to a list call whose items are all at hand, in the order of the list. id names an item for a cursor.
//
// Errors: errPaging; errQuery, for a cursor that is none.
func listed[T any](name string, all []T, p Paging, at Checkpoint, id func(T) string) (list[T], error) {
	out := list[T]{name: name}
	if at.wins() {
		after, err := readCursor(at.From)
		if err != nil {
			return out, err
		}
		rest := all
		if i := slices.IndexFunc(all, func(item T) bool { return id(item) == after }); i >= 0 {
			rest = all[i+1:]
		} else if after != "" {
			rest = nil // it is gone: what came after it is not known
		}
		out.items = rest[:min(at.take(), len(rest))]
		next := continued{}
		if len(out.items) < len(rest) {
			next.Next = cursor(id(out.items[len(out.items)-1]))
		}
		out.shape = next
		return out, nil
	}
	skip, err := p.skip()
	if err != nil {
		return out, err
	}
	rest := all[min(skip, len(all)):]
	out.items = rest[:min(p.PerPage, len(rest))]
	if p.IncludeTotals {
		out.shape = totals{
			Start:  skip,
			Limit:  p.PerPage,
			Length: len(out.items),
			Total:  len(all),
		}
	}
	return out, nil
}

// MarshalJSON writes the list in its shape.
func (l list[T]) MarshalJSON() ([]byte, error) {
	if l.items == nil {
		l.items = []T{}
	}
	items, err := json.Marshal(l.items)
	if err != nil || l.shape == nil {
		return items, err
	}
	// The items get the list's name among the members of the shape.
	shape, err := json.Marshal(l.shape)
	if err != nil {
		return nil, err
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(shape, &members); err != nil {
		return nil, err
	}
	members[l.name] = items
	return json.Marshal(members)
}

// Schema describes the shapes.
func (l list[T]) Schema(r huma.Registry) *huma.Schema {
	items := &huma.Schema{Type: huma.TypeArray, Items: r.Schema(reflect.TypeFor[T](), true, "")}
	number := &huma.Schema{Type: huma.TypeInteger}
	text := &huma.Schema{Type: huma.TypeString}
	object := &huma.Schema{
		Type:        huma.TypeObject,
		Description: "With include_totals: start, limit, length and total; with take: next.",
		Properties: map[string]*huma.Schema{
			"start": number, "limit": number, "length": number, "total": number, "next": text,
		},
		AdditionalProperties: items, // under the list's name
	}
	return &huma.Schema{OneOf: []*huma.Schema{items, object}}
}

// Selection names the members of an object that are wanted, or not wanted.
type Selection struct {
	Fields        string `query:"fields" doc:"Members to include, or to leave out; separated by commas."`
	IncludeFields bool   `query:"include_fields" default:"true"`
}

// picked is an object that is written without some of its members.
type picked[T any] struct {
	value T
	Selection
}

// MarshalJSON writes the members that are wanted.
func (p picked[T]) MarshalJSON() ([]byte, error) {
	whole, err := json.Marshal(p.value)
	if err != nil || p.Fields == "" {
		return whole, err
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(whole, &members); err != nil {
		return nil, err
	}
	names := strings.Split(p.Fields, ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	for name := range members {
		if slices.Contains(names, name) != p.IncludeFields {
			delete(members, name)
		}
	}
	return json.Marshal(members)
}

// Schema describes the object: each member may be missing, since fields may leave it out.
func (picked[T]) Schema(r huma.Registry) *huma.Schema {
	whole := r.Schema(reflect.TypeFor[T](), true, "")
	name := path.Base(whole.Ref) + "Picked"
	if r.Map()[name] == nil {
		part := *r.SchemaFromRef(whole.Ref)
		part.Required = nil
		part.Description = "Without fields, every member that is known."
		r.Map()[name] = &part
	}
	return &huma.Schema{Ref: strings.TrimSuffix(whole.Ref, path.Base(whole.Ref)) + name}
}

// direction reads "field:1" or "field:-1".
//
// Errors: errQuery.
func direction(sort string) (field string, down bool, err error) {
	field, way, _ := strings.Cut(sort, ":")
	if way != "1" && way != "-1" {
		return "", false, errQuery.With("sort is field:1 or field:-1")
	}
	return field, way == "-1", nil
}
