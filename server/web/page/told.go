package page

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/storage"
)

// A form is answered by sending the browser to a page, and never by a page: so Back and a reload ask for a page again, and never for
// the form. What that page has to say of the form, a cookie tells it once: what is wrong with what was typed, say. Loaded again, the
// page says nothing of it.
const (
	toldCookie = "tutela_told"
	toldLife   = time.Minute // from the answer to the form to the call for the page
	toldMost   = 1024        // bytes of the cookie

	// Of each form that was taken another value is kept, since browsers keep no page in memory whose cookies have changed: Back asks the
	// server again, although scripts do not run. The back/forward cache ignores no-store.
	stepCookie     = "tutela_step"
	stepCharacters = 22 // of 62: 131 bits
)

// telling is what a cookie tells a page.
type telling struct {
	About string   `json:"about"` // names the page
	Words []string `json:"words"`
}

// aboutOf names a page without a word of what it is about, which may be a secret.
func aboutOf(about string) string {
	sum := sha256.Sum256([]byte(about))
	return hex.EncodeToString(sum[:8])
}

// Tell has the page to which a form's answer leads say something once. about names the page: its handler asks [Call.Told] with the same.
// The words are no secret: the browser keeps them. Too many are told as none.
func (c *Call) Tell(about string, words ...string) {
	told, err := json.Marshal(telling{aboutOf(about), words})
	value := base64.RawURLEncoding.EncodeToString(told)
	if err != nil || len(value) > toldMost {
		return
	}
	c.Keep(toldCookie, value, toldLife)
}

// Told returns what the form before has the page say, once; nil: nothing. A browser could send anything: the caller takes the words that
// it knows, and no others.
func (c *Call) Told(about string) []string {
	kept := c.Kept(toldCookie)
	if kept == "" || len(kept) > toldMost || c.Method() != fiber.MethodGet {
		return nil
	}
	var told telling
	content, err := base64.RawURLEncoding.DecodeString(kept)
	if err != nil || json.Unmarshal(content, &told) != nil || told.About != aboutOf(about) {
		return nil
	}
	c.Forget(toldCookie)
	return told.Words
}

// stepped notes that a form was taken.
func (c *Call) stepped() { c.Keep(stepCookie, storage.NewID("", stepCharacters), browserLife) }
