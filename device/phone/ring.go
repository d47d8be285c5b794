package phone

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// distributor is a push service of the phone's own, as a UnifiedPush distributor is: it belongs to the phone, and a reinstall
// of the app leaves it alone.
type distributor struct {
	Key     []byte `json:"key"`     // the private key of the subscription: a scalar of P-256
	Auth    []byte `json:"auth"`    // the secret of the subscription, 16 bytes
	Path    string `json:"path"`    // of the endpoint: whoever knows it can post
	Address string `json:"address"` // where it listens: 127.0.0.1 and a port
}

// subscription is what the app names as its push token. Source: W3C Push API, PushSubscription.toJSON.
type subscription struct {
	Endpoint string `json:"endpoint"`
	Keys     struct {
		P256DH string `json:"p256dh"`
		Auth   string `json:"auth"`
	} `json:"keys"`
}

// maxUnread is how many messages a ring keeps until they are read.
const maxUnread = 64

// Ring is the phone's own Web Push service on this machine, open for messages.
type Ring struct {
	private  *ecdh.PrivateKey
	auth     []byte
	path     string
	origin   string
	sender   JWK // of the server: by this key it signs
	senderID string

	server   *http.Server
	served   sync.WaitGroup
	messages chan Message

	mu   sync.Mutex
	seen map[string]bool // challenges and times: a message may come twice
}

// Ring subscribes the phone to a push service of its own, tells the server the subscription, and waits for messages. The server
// must be allowed to call this machine (--dev, or --push-allow 127.0.0.1). Close ends it; the subscription stays.
//
// Errors: ErrNotEnrolled; those of the calls; those of the socket, when another process serves the subscription.
func (p *Phone) Ring(ctx context.Context) (*Ring, error) {
	if _, err := p.enrolled(); err != nil {
		return nil, err
	}
	response, err := p.Do(ctx, Call{Method: http.MethodGet, Path: "/api/push/web"})
	if err != nil {
		return nil, err
	}
	var told struct {
		Key string `json:"public_key"`
	}
	if err := response.decode(&told); err != nil {
		return nil, err
	}
	r := &Ring{messages: make(chan Message, maxUnread), seen: map[string]bool{}, senderID: told.Key}
	if r.sender, err = jwkOfPoint(told.Key); err != nil {
		return nil, err
	}
	token, err := p.listen(ctx, r)
	if err != nil {
		return nil, err
	}
	// It listens before the server knows of it: no message is lost between the two.
	if _, err := p.Patch(ctx, Changes{Push: &PushCredentials{Service: "WEBPUSH", Token: token}}); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// listen opens the phone's distributor, makes it when there is none, and returns the subscription.
func (p *Phone) listen(ctx context.Context, r *Ring) (string, error) {
	end, err := p.begin()
	if err != nil {
		return "", err
	}
	defer end()
	d := p.snapshot().device.Distributor
	if d == nil {
		private, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			return "", err
		}
		d = &distributor{
			Key:     private.Bytes(),
			Auth:    make([]byte, 16),
			Path:    "/push/" + rand.Text(),
			Address: "127.0.0.1:0",
		}
		_, _ = rand.Read(d.Auth) // never fails: see newIdentifier
	}
	if r.private, err = ecdh.P256().NewPrivateKey(d.Key); err != nil {
		return "", fmt.Errorf("the key of the phone's push service: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.Address)
	if err != nil {
		return "", fmt.Errorf("open the phone's push service: %w", err)
	}
	made := *d
	made.Address = listener.Addr().String()
	r.auth = made.Auth
	r.path = made.Path
	r.origin = "http://" + made.Address
	if err := p.change(func(s *state) { s.device.Distributor = &made }); err != nil {
		return "", errors.Join(err, listener.Close())
	}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	r.served.Go(func() { _ = r.server.Serve(listener) }) // it ends when Close closes it
	return r.subscription()
}

func (r *Ring) subscription() (string, error) {
	s := subscription{Endpoint: r.origin + r.path}
	s.Keys.P256DH = b64.EncodeToString(r.private.PublicKey().Bytes())
	s.Keys.Auth = b64.EncodeToString(r.auth)
	text, err := json.Marshal(s)
	return string(text), err
}

// Address returns where the phone's push service listens.
func (r *Ring) Address() string { return r.origin }

// Next waits for the next message. One that comes twice is returned once.
func (r *Ring) Next(ctx context.Context) (Message, error) {
	select {
	case m := <-r.messages:
		return m, nil
	case <-ctx.Done():
		return Message{}, ctx.Err()
	}
}

// Close ends the phone's push service.
func (r *Ring) Close() error {
	err := r.server.Close()
	r.served.Wait()
	return err
}

// ServeHTTP is the push service: it takes a message that is for this subscription, from this server, and opens.
//
// Source: RFC 8030 §5.
func (r *Ring) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.URL.Path != r.path:
		http.Error(w, "no such subscription", http.StatusNotFound)
	case req.Method != http.MethodPost:
		http.Error(w, "post a message", http.StatusMethodNotAllowed)
	case req.Header.Get("Content-Encoding") != "aes128gcm":
		http.Error(w, "not encrypted as RFC 8291 says", http.StatusUnsupportedMediaType)
	case r.verify(req.Header.Get("Authorization")) != nil:
		http.Error(w, "not signed by the sender of this subscription", http.StatusForbidden)
	default:
		r.take(w, req)
	}
}

func (r *Ring) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 4096))
	if err != nil {
		http.Error(w, "a message has at most 4096 bytes", http.StatusRequestEntityTooLarge)
		return
	}
	text, err := openPush(body, r.private, r.auth)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m, err := ParseMessage(text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if ttl, err := strconv.Atoi(req.Header.Get("TTL")); err != nil || ttl < 0 {
		http.Error(w, "TTL is missing", http.StatusBadRequest)
		return
	}
	if !r.keep(m) {
		http.Error(w, "too many messages are unread", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Location", r.origin+"/message/"+rand.Text())
	w.WriteHeader(http.StatusCreated)
}

// keep reports whether there was room for a message. One that is known takes none.
func (r *Ring) keep(m Message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var key string
	if m.Approval != nil {
		key = m.Approval.EnrollmentID + " " + m.Approval.Challenge
	} else {
		key = m.Notice.EnrollmentID + " " + m.Notice.At.String()
	}
	if r.seen[key] {
		return true
	}
	select {
	case r.messages <- m:
		r.seen[key] = true
		return true
	default:
		return false
	}
}

// verify checks that the server has signed, for this push service, and not for ever. Source: RFC 8292 §2 and §4.2.
func (r *Ring) verify(authorization string) error {
	rest, isVapid := strings.CutPrefix(authorization, "vapid t=")
	token, by, hasKey := strings.Cut(rest, ", k=")
	if !isVapid || !hasKey || by != r.senderID {
		return errSignature
	}
	var claims struct {
		Audience string `json:"aud"`
		Expires  int64  `json:"exp"`
	}
	if err := errors.Join(verifyJWS(token, r.sender), payloadOf(token, &claims)); err != nil {
		return err
	}
	left := time.Until(time.Unix(claims.Expires, 0))
	if claims.Audience != r.origin || left <= 0 || left > 24*time.Hour {
		return errSignature
	}
	return nil
}

// jwkOfPoint returns the public key of an uncompressed point of P-256, in unpadded base64url.
func jwkOfPoint(encoded string) (JWK, error) {
	point, err := b64.DecodeString(encoded)
	if err == nil {
		_, err = ecdh.P256().NewPublicKey(point)
	}
	if err != nil {
		return JWK{}, fmt.Errorf("the server's key for Web Push: %w", err)
	}
	return JWK{
		Kty: "EC",
		Crv: "P-256",
		X:   b64.EncodeToString(point[1:33]),
		Y:   b64.EncodeToString(point[33:]),
	}, nil
}

var errPush = errors.New("the message does not open")

// openPush decrypts a Web Push message: one record of aes128gcm, under keys that follow from both sides' keys and the
// subscription's secret.
//
// Source: RFC 8291 §3.3, §3.4 and §4; RFC 8188 §2.
func openPush(body []byte, private *ecdh.PrivateKey, auth []byte) ([]byte, error) {
	// salt (16) ‖ size of the record (4) ‖ length of the sender's public key (1) ‖ that key ‖ the record
	const header = 16 + 4 + 1 + 65
	if len(body) < header || body[20] != 65 || uint64(len(body)-header) > uint64(binary.BigEndian.Uint32(body[16:])) {
		return nil, errPush
	}
	salt := body[:16]
	from := body[21:header]
	sender, err := ecdh.P256().NewPublicKey(from)
	if err != nil {
		return nil, errPush
	}
	shared, err := private.ECDH(sender)
	if err != nil {
		return nil, errPush
	}
	info := "WebPush: info\x00" + string(private.PublicKey().Bytes()) + string(from)
	input, err := hkdf.Key(sha256.New, shared, auth, info, 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, input, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, input, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nonce, body[header:], nil)
	if err != nil {
		return nil, errPush
	}
	// Behind the text: 2, which ends the last record, and as many zeros as the sender likes.
	end := len(plain) - 1
	for end >= 0 && plain[end] == 0 {
		end--
	}
	if end < 0 || plain[end] != 2 {
		return nil, errPush
	}
	return plain[:end], nil
}
