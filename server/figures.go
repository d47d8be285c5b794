package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/storage/meter"
)

// noRoute is the route of a call that found none, or was refused before it was routed.
const noRoute = "none"

// methods and codes are the words of a call's figures.
var (
	methods = []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	}
	codes = []int{
		200, 201, 202, 204, 302, 303, 304, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 415, 421, 422, 423, 425, 428, 429, 431, 500, 503,
	}
)

// What is counted of calls. A route is a pattern of ours, such as /api/v2/users/{id}: never a path that a caller has sent.
var (
	requestsDone = meter.NewCounter("tutela_http_requests_total",
		"Calls that were answered, by method, route and status. The route of a call that found none is none.",
		meter.Words("method", methods...), meter.Label{Name: "route"}, codeLabel())
	requestTime = meter.NewHistogram("tutela_http_request_duration_seconds",
		"How long it took to answer a call that did not wait, from the end of the request, by method and route.",
		meter.Seconds, meter.Words("method", methods...), meter.Label{Name: "route"})
	heldTime = meter.NewHistogram("tutela_http_held_duration_seconds",
		"How long a call was held that waited for something to happen, such as a person's answer.",
		[]float64{1, 2.5, 5, 10, 20, 30, 40, 50, 60})
	waitingNow        = meter.NewGauge("tutela_http_waiting_calls", "Calls that are held until something happens.")
	connectionsNow    = meter.NewGauge("tutela_http_connections", "Connections that are open.")
	connectionsMost   = meter.NewGauge("tutela_http_connections_max", "Connections that may be open at once.")
	connectionsDenied = meter.NewCounter("tutela_http_connections_refused_total",
		"Connections that were closed at once because too many were open.")
)

func codeLabel() meter.Label {
	l := meter.Label{Name: "code"}
	for _, code := range codes {
		l.Values = append(l.Values, strconv.Itoa(code))
	}
	return l
}

// routeKey names a route as the router has it.
type routeKey struct{ method, path string }

// routeFigures are the figures of one route. Its series are made when they are first counted.
type routeFigures struct {
	method, route string
	codes         []atomic.Pointer[meter.Cell] // in the order of codes, and one for all others
	took          atomic.Pointer[meter.Distribution]
}

func newRouteFigures(method, route string) *routeFigures {
	return &routeFigures{
		method: method,
		route:  route,
		codes:  make([]atomic.Pointer[meter.Cell], len(codes)+1),
	}
}

// figures counts the calls of a server. It is made when all handlers are mounted, and never changes.
type figures struct {
	set     *meter.Set
	byRoute map[routeKey]*routeFigures
	byNone  map[string]*routeFigures // by method, of calls that found no route
}

func newFigures(set *meter.Set, routers ...*fiber.App) *figures {
	f := &figures{set: set, byRoute: map[routeKey]*routeFigures{}, byNone: map[string]*routeFigures{}}
	for _, router := range routers {
		for _, routes := range router.Stack() {
			for _, r := range routes {
				f.byRoute[routeKey{r.Method, r.Path}] = newRouteFigures(r.Method, pattern(r.Path))
			}
		}
	}
	for _, method := range append(slices.Clone(methods), meter.Other) {
		f.byNone[method] = newRouteFigures(method, noRoute)
	}
	return f
}

// pattern writes a router's path as the APIs' description does: {id} in the place of :id.
func pattern(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if name, isParam := strings.CutPrefix(part, ":"); isParam {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}

// of returns the figures of a call's route.
func (f *figures) of(c *Call) *routeFigures {
	if one := f.byRoute[c.routed]; one != nil {
		return one
	}
	if one := f.byNone[string(c.ctx.Method())]; one != nil {
		return one
	}
	return f.byNone[meter.Other]
}

// count counts a call that has its answer.
func (f *figures) count(c *Call) {
	if f == nil || f.set == nil {
		return
	}
	route := f.of(c)
	route.cell(f.set, c.ctx.Response.StatusCode()).Add(1)
	took := time.Since(c.began).Seconds()
	if c.parked {
		heldTime.Observe(f.set, took)
		return
	}
	route.duration(f.set).Observe(took)
}

// cell returns the counter of the route's calls with a status.
func (r *routeFigures) cell(set *meter.Set, status int) *meter.Cell {
	at, known := slices.BinarySearch(codes, status)
	word := meter.Other
	if known {
		word = strconv.Itoa(status)
	} else {
		at = len(codes)
	}
	cell := r.codes[at].Load()
	if cell == nil {
		cell = requestsDone.Cell(set, r.method, r.route, word)
		r.codes[at].Store(cell)
	}
	return cell
}

func (r *routeFigures) duration(set *meter.Set) *meter.Distribution {
	took := r.took.Load()
	if took == nil {
		took = requestTime.Distribution(set, r.method, r.route)
		r.took.Store(took)
	}
	return took
}

// countRoutes has the gauges read this server, and its calls counted. All handlers must be mounted before.
func (s *Server) countRoutes() {
	set := s.config.Meter
	s.figures = newFigures(set, s.app, s.doors)
	waitingNow.ProvideOne(set, func() float64 { return float64(s.waits.Len()) })
	connectionsNow.ProvideOne(set, func() float64 { return float64(s.listener.open()) })
	connectionsMost.ProvideOne(set, func() float64 { return float64(s.bound) })
}

// noteRoute is the router's first handler: it notes which route a call has found.
func noteRoute(c *fiber.Ctx) error {
	call := CallOf(c.Context())
	first := c.Route()
	defer func() {
		if found := c.Route(); found != first {
			call.routed = routeKey{found.Method, found.Path}
		}
	}()
	c.SetUserContext(&call.context)
	return c.Next()
}
