package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"tutela/storage"
)

// Errors of the socket.
var (
	ErrPath   = storage.NewError(storage.Invalid, "the path of the admin socket is too long")
	ErrFolder = storage.NewError(storage.Invalid, "the folder of the admin socket cannot be the data folder")
	ErrServed = storage.NewError(storage.Conflict, "somebody serves on the admin socket already")
)

const (
	// maxPathBytes is how long the path of a socket can be. Source: unix(7), sun_path less its final zero byte.
	maxPathBytes = 107

	// maxCallBytes bounds the input of one call.
	maxCallBytes = 1 << 20

	// grace is how long running calls may take at shutdown.
	grace = 5 * time.Second

	headerTime = 5 * time.Second
)

// CheckPath returns an error when a path is too long for a socket.
//
// Errors: ErrPath, which says what to do.
func CheckPath(path string) error {
	if len(path) > maxPathBytes {
		return ErrPath.With("the admin socket %s would have a path of %d bytes, and a socket's has at most %d: choose a shorter --data",
			path, len(path), maxPathBytes)
	}
	return nil
}

// Listen opens the admin socket at path, with mode 0600, and first gives its folder mode 0700. It removes the socket of a
// killed server, on which nobody answers.
//
// Errors: ErrPath; ErrFolder; ErrServed; those of the file system.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	if err := closeFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("close the admin socket to others: %w", err), l.Close())
	}
	return l, nil
}

func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the admin socket: %w", err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return ErrFolder.With("%s is in the way of the admin socket, and is none: remove it", path)
	}
	// A killed server leaves its socket, and nobody answers there.
	if c, err := dial(ctx, path); err == nil {
		return errors.Join(ErrServed.With("somebody serves on %s already", path), c.Close())
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the admin socket of a server that is gone: %w", err)
	}
	return nil
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// Serve answers the calls that come over l until ctx ends; it closes l, which removes the socket.
func Serve(ctx context.Context, l net.Listener, services Services, log *slog.Logger) error {
	mux := http.NewServeMux()
	for _, c := range calls {
		c.mount(mux, services)
	}
	mux.HandleFunc("GET "+copyPath, func(w http.ResponseWriter, r *http.Request) { serveCopy(w, r, services) })
	s := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headerTime,
		ConnContext:       identify,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the admin socket: %w", err)
	case <-ctx.Done():
	}
	// ctx is over, since that is why the server stops; the shutdown needs a context that is not.
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if s.Shutdown(waiting) != nil {
		log.Warn("calls of the operator were cut off at shutdown")
		return s.Close()
	}
	return nil
}

// peerKey finds the caller's user id in a connection's context.
type peerKey struct{}

// identify asks the kernel who is at the other end. Source: unix(7), SO_PEERCRED.
func identify(ctx context.Context, c net.Conn) context.Context {
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *unix.Ucred
	controlled := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if controlled != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, int(peer.Uid))
}

// errNobody reports a caller whose user id the kernel did not give.
var errNobody = storage.NewError(storage.Denied, "the caller's user id is not known")

// serviceFor returns the calls, made by the user at the other end of the socket.
func serviceFor(r *http.Request, services Services) (*Local, error) {
	uid, ok := r.Context().Value(peerKey{}).(int)
	if !ok {
		return nil, errNobody
	}
	sudo, err := url.PathUnescape(r.Header.Get(headerSudo))
	if err != nil {
		return nil, storage.NewError(storage.Invalid, "the call is malformed")
	}
	return NewLocal(services, uid).BySudo(sudo), nil
}

// mounter is a Call, whatever its types.
type mounter interface {
	mount(mux *http.ServeMux, services Services)
}

func (c Call[I, O]) mount(mux *http.ServeMux, services Services) {
	mux.HandleFunc("POST /"+c.name, func(w http.ResponseWriter, r *http.Request) {
		out, err := c.serve(r, services)
		if err != nil {
			respond(w, http.StatusBadRequest, wireErrorOf(err))
			return
		}
		respond(w, http.StatusOK, out)
	})
}

func (c Call[I, O]) serve(r *http.Request, services Services) (out O, err error) {
	s, err := serviceFor(r, services)
	if err != nil {
		return out, err
	}
	var in I
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxCallBytes)).Decode(&in); err != nil {
		return out, storage.NewError(storage.Invalid, "the call is malformed")
	}
	return c.run(s, r.Context(), in)
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // a caller who is gone needs no answer
}

// serveCopy streams a copy of the data file. A trailer says whether it is whole.
func serveCopy(w http.ResponseWriter, r *http.Request, services Services) {
	s, err := serviceFor(r, services)
	if err != nil {
		respond(w, http.StatusBadRequest, wireErrorOf(err))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", trailerSize+", "+trailerError)
	n, err := s.CopyTo(r.Context(), w)
	if err != nil {
		told, _ := json.Marshal(wireErrorOf(err)) //nolint:errchkjson // two strings
		w.Header().Set(trailerError, string(told))
		return
	}
	w.Header().Set(trailerSize, strconv.FormatInt(n, 10))
}
