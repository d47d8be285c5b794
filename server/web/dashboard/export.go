package dashboard

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/server/web/page"
	"tutela/storage/audit"
)

// An export is streamed: it is written while it is read, a batch at a time, oldest first.
const (
	mostExported = 100_000
	exportBatch  = 500
	exportTime   = 10 * time.Minute // whoever takes it no faster is cut off
)

// columns are the head of the CSV.
var columns = []string{
	"time", "type", "user_id", "client", "by", "facts", "ip", "user_agent", "device", "text", "count", "id",
}

// harmless returns a cell that no spreadsheet takes for a formula.
//
// Source: OWASP, CSV Injection.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// row returns the cells of an event.
func row(e shownEvent) []string {
	count := ""
	if e.Folded.Count > 0 {
		count = strconv.Itoa(e.Folded.Count)
	}
	cells := []string{
		e.Time.UTC().Format(time.RFC3339Nano), string(e.Type), e.UserID, e.Client, e.By, e.Facts, e.Detail.IP, e.Detail.UserAgent,
		e.Detail.Device, e.Detail.Text, count, e.ID,
	}
	for i := range cells {
		cells[i] = harmless(cells[i])
	}
	return cells
}

// exportCSV answers with the events that fit, as CSV.
//
// Source: RFC 4180.
func (p *pages) exportCSV(c *Call) (page.Reply, error) {
	return p.export(c, "text/csv; charset=utf-8; header=present", "csv", func(w *bufio.Writer) (func(shownEvent) error, func() error) {
		table := csv.NewWriter(w)
		table.UseCRLF = true
		err := table.Write(columns)
		return func(e shownEvent) error {
				if err != nil {
					return err
				}
				return table.Write(row(e))
			}, func() error {
				table.Flush()
				return table.Error()
			}
	})
}

// line is an event in an export of JSON lines, as tutela events --json prints it.
type line struct {
	audit.Event
	Detail audit.Detail `json:"detail,omitzero"`
	UserID string       `json:"user_id,omitempty"`
	Damage string       `json:"damage,omitempty"`
}

// exportLines answers with the events that fit, as JSON, one a line.
func (p *pages) exportLines(c *Call) (page.Reply, error) {
	return p.export(c, "application/jsonl; charset=utf-8", "jsonl", func(w *bufio.Writer) (func(shownEvent) error, func() error) {
		out := json.NewEncoder(w)
		return func(e shownEvent) error {
				return out.Encode(line{e.Event, e.Detail, e.UserID, e.Damage})
			}, func() error {
				return nil
			}
	})
}

// writing returns how an event is written, and what ends a batch of them.
type writing func(w *bufio.Writer) (event func(shownEvent) error, flush func() error)

func (p *pages) export(c *Call, kind, ending string, how writing) (page.Reply, error) {
	q, one, err := p.query(c.UserContext(), filterOf(c))
	if err != nil {
		return page.Reply{}, err
	}
	if one != nil {
		q = audit.Query{Since: one.Time, Until: one.Time}
	}
	name := "events-" + p.Now().UTC().Format("2006-01-02") + "." + ending
	c.Set(fiber.HeaderContentType, kind)
	c.Set(fiber.HeaderContentDisposition, `attachment; filename="`+name+`"`)
	ctx := context.WithoutCancel(c.UserContext()) // it is written after the handler has returned
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		ctx, cancel := context.WithTimeout(ctx, exportTime)
		defer cancel()
		_ = p.stream(ctx, w, q, how) // who has hung up, or is too slow, gets no more
	})
	return page.Reply{Written: true}, nil
}

// stream writes the events that fit, oldest first.
func (p *pages) stream(ctx context.Context, w *bufio.Writer, q audit.Query, how writing) error {
	write, flush := how(w)
	q.Oldest = true
	q.Take = exportBatch
	for n := 0; n < mostExported; n += exportBatch {
		list, _, err := audit.List(ctx, p.Store, q, false)
		if err != nil {
			return err
		}
		shown, err := p.show(ctx, list)
		if err != nil {
			return err
		}
		for _, e := range shown {
			if err := write(e); err != nil {
				return err
			}
		}
		if err := flush(); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if len(list) < exportBatch {
			return nil
		}
		q.After = list[len(list)-1].ID
	}
	return nil
}
