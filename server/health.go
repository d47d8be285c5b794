package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
)

const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

// isHealth reports whether a path is one that monitors ask for.
func isHealth(path string) bool { return path == healthPath || path == readyPath }

// checkTime bounds one round of checks. The outcome of a round serves everybody who asks within checkAge, because anybody
// may ask, and a round writes to the disk.
const (
	checkTime = 2 * time.Second
	checkAge  = time.Second
)

// Check is one thing that /readyz looks at. Run returns what is wrong; it must heed its context.
type Check struct {
	Name string
	Run  func(ctx context.Context) error

	// Advisory marks a check that tells people something on which a load balancer should not act. The answer holds what Run
	// returns, and stays 200. It is not logged here: the code that finds the trouble logs it once.
	Advisory bool
}

// health answers /healthz, which says that the process runs, and /readyz, which says that it can do its work.
type health struct {
	checks  []Check
	version string
	log     *slog.Logger

	mu      sync.Mutex // guards what is below; held during a round, so that one round serves all who wait
	checked time.Time
	latest  readiness
}

// readiness is the body of /readyz.
type readiness struct {
	Status  string            `json:"status"`            // ready or not_ready
	Version string            `json:"version,omitempty"` // of the server
	Checks  map[string]string `json:"checks"`            // by name: ok, or what is wrong
}

// liveness is the body of /healthz.
type liveness struct {
	Status  string `json:"status"` // ok
	Version string `json:"version,omitempty"`
}

// isReady is the status of a server that can do its work.
const isReady = "ready"

func newHealth(checks []Check, version string, log *slog.Logger) *health {
	return &health{checks: checks, version: version, log: log}
}

// Ready reports whether the server can do its work, as /readyz says it.
func (s *Server) Ready() bool { return s.health.look().Status == isReady }

// Liveness returns the answer of /healthz, whose body is to be JSON.
func (s *Server) Liveness() (status int, body any) { return http.StatusOK, s.health.live() }

// Readiness returns the answer of /readyz, whose body is to be JSON.
func (s *Server) Readiness() (status int, body any) {
	state := s.health.look()
	status = state.httpStatus()
	return status, state
}

// Checks returns what the server looks at, by name: "ok", or what is wrong, as /readyz says it.
func (s *Server) Checks() map[string]string { return s.health.look().Checks }

// Version is what the server says it is.
func (s *Server) Version() string { return s.config.Version }

// describeHealth adds /healthz and /readyz to the description of all APIs.
func describeHealth(api huma.API) {
	status := func(words ...any) *huma.Schema { return &huma.Schema{Type: huma.TypeString, Enum: words} }
	text := &huma.Schema{Type: huma.TypeString}
	describeDocument(api, healthPath, "get-health", "Does the process run?", &huma.Schema{
		Type:       huma.TypeObject,
		Required:   []string{"status"},
		Properties: map[string]*huma.Schema{"status": status("ok"), "version": text},
	})
	ready := &huma.Schema{
		Type:        huma.TypeObject,
		Required:    []string{"status", "checks"},
		Description: "checks has for each by name ok, or what is wrong. Not ready is 503.",
		Properties: map[string]*huma.Schema{
			"status":  status("ready", "not_ready"),
			"version": text,
			"checks":  {Type: huma.TypeObject, AdditionalProperties: text},
		},
	}
	describeDocument(api, readyPath, "get-readiness", "Can the server do its work?", ready)
	unready := api.OpenAPI().Paths[readyPath].Get.Responses["503"]
	*unready = huma.Response{Description: "Not ready", Content: map[string]*huma.MediaType{jsonType: {Schema: ready}}}
}

func (h *health) mount(s *Server) {
	describeHealth(s.api)
	s.app.Get(healthPath, func(c *fiber.Ctx) error {
		return c.JSON(h.live())
	})
	s.app.Get(readyPath, func(c *fiber.Ctx) error {
		state := h.look()
		return c.Status(state.httpStatus()).JSON(state)
	})
}

func (h *health) live() liveness { return liveness{Status: "ok", Version: h.version} }

func (r *readiness) httpStatus() int {
	if r.Status != isReady {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// look returns the outcome of a round of checks that is at most checkAge old.
func (h *health) look() readiness {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.checked.IsZero() && time.Since(h.checked) < checkAge {
		return h.latest
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkTime)
	defer cancel()
	state := readiness{
		Status:  isReady,
		Version: h.version,
		Checks:  make(map[string]string, len(h.checks)),
	}
	for i, err := range h.run(ctx) {
		check := h.checks[i]
		state.Checks[check.Name] = "ok"
		if err == nil {
			continue
		}
		state.Checks[check.Name] = publicReason(err)
		if !check.Advisory {
			state.Status = "not_ready"
			h.log.Error("not ready", "check", check.Name, "err", err)
		}
	}
	h.latest = state
	h.checked = time.Now()
	return state
}

// run runs all checks at once. It does not wait for a check that ignores its context, and counts it as failed.
func (h *health) run(ctx context.Context) []error {
	outcomes := make([]chan error, len(h.checks))
	for i, check := range h.checks {
		outcomes[i] = make(chan error, 1)
		go func() { outcomes[i] <- check.Run(ctx) }()
	}
	errs := make([]error, len(h.checks))
	for i, outcome := range outcomes {
		select {
		case errs[i] = <-outcome:
		case <-ctx.Done():
			errs[i] = ctx.Err()
		}
	}
	return errs
}

// publicReason returns what anybody may read about a failed check. An error without a code may name paths, and is hidden.
func publicReason(err error) string {
	switch message := Message(err); {
	case message != "":
		return message
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	default:
		return "failed"
	}
}
