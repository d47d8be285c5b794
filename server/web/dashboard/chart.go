package dashboard

import (
	"fmt"
	"strconv"
)

// A chart is bars over days, drawn by the server: x in percent, so that bars stretch and letters do not, and y in pixels.
type chart struct {
	Label      string // what is to be seen, in words
	Height     int    // pixels
	Most, Half string // at the lines of the scale, which begins at 0
	Bars       []bar
	Axis       []tick
}

// bar is a day's figure.
type bar struct {
	X, Width  string // percent
	Y, Height string // pixels
	Class     string // its colour: fill-brand, fill-warn, fill-bad
	Part      bool   // the day is not over
	Title     string // the figure in words
}

// tick is the day below a bar.
type tick struct {
	X     string // percent
	Day   string
	Minor bool // left out where there is little room
}

// series is one colour of a chart: a figure a day.
type series struct {
	class   string
	figures []uint64
	title   func(day int, n uint64) string
}

// figure writes a number as the reader's language does.
type figure func(n uint64) string

// draw draws one or two series over the same days. The last day is not over.
func draw(label string, height int, days []string, write figure, all ...series) chart {
	most := uint64(0)
	for _, s := range all {
		for _, n := range s.figures {
			most = max(most, n)
		}
	}
	most = round(most)
	c := chart{
		Label:  label,
		Height: height,
		Most:   write(most),
		Half:   write(most / 2),
	}
	room := 100 / float64(len(days)) // of a day
	width := room * .62 / float64(len(all))
	for i, s := range all {
		for day, n := range s.figures {
			high := float64(height) * float64(n) / float64(most)
			c.Bars = append(c.Bars, bar{
				X:      percent(room*float64(day) + room*.19 + width*float64(i)),
				Width:  percent(width * .95),
				Y:      pixels(float64(height) - high),
				Height: pixels(high),
				Class:  s.class,
				Part:   day == len(days)-1,
				Title:  s.title(day, n),
			})
		}
	}
	for day, name := range days {
		c.Axis = append(c.Axis, tick{percent(room * (float64(day) + .5)), name, (len(days)-1-day)%2 == 1})
	}
	return c
}

func percent(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + "%" }

func pixels(y float64) string { return strconv.FormatFloat(y, 'f', 1, 64) }

// round returns an even number at which a scale can end: 2, 4, 6, 8 or 10 of some power of ten.
func round(most uint64) uint64 {
	unit := uint64(1)
	for most > 10*unit {
		unit *= 10
	}
	for _, end := range []uint64{2, 4, 6, 8, 10} {
		if most <= end*unit {
			return end * unit
		}
	}
	return 10 * unit
}

// person of the crowd: of a hundred figures, which stand in five rows.
type figureOf100 struct {
	X, Y  int
	Class string // in or out
}

const (
	figures100   = 100
	figuresInRow = 20
)

// crowd returns a hundred figures for users, of whom part of all are in. Nobody is left out who is there: one user in a thousand is a
// figure too.
func crowd(part, all int64) []figureOf100 {
	in := hundredth(part, all)
	list := make([]figureOf100, 0, figures100)
	for i := range figures100 {
		f := figureOf100{X: 16 * (i % figuresInRow), Y: 24 * (i / figuresInRow), Class: "in"}
		if i >= in {
			f.Class = "out"
		}
		list = append(list, f)
	}
	return list
}

// hundredth returns how many of a hundred part is of all: 0 and 100 for none and all alone.
func hundredth(part, all int64) int {
	switch {
	case all == 0 || part == all:
		return figures100
	case part == 0:
		return 0
	}
	return int(min(max((part*figures100+all/2)/all, 1), figures100-1))
}

// width returns the width of a bar of causes, against the largest.
func widthOf(n, most int64) string {
	if most == 0 {
		return "0%"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(n)/float64(most))
}
