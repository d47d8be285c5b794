package appapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"tutela/backup"
	"tutela/device"
	"tutela/storage"
)

func (a *api) mountBackup() {
	const path = "/api/device-accounts/{id}/backup"
	put := huma.Operation{
		OperationID:   "put-backup",
		Method:        http.MethodPut,
		Path:          path,
		DefaultStatus: http.StatusCreated,
		RequestBody:   &huma.RequestBody{Description: "The ciphertext; empty for a backup that the platform keeps."},
		Summary:       "Add a generation to the backup",
		Description:   "The same PUT again gets the same answer. A stale If-Match is 412 with what is there.",
	}
	register(a, byDevice, put, a.putBackup)
	put.RequestBody.Required = false // Huma takes a raw body for required
	register(a, byDevice, huma.Operation{
		OperationID: "get-backup",
		Method:      http.MethodGet,
		Path:        path,
		Responses:   ciphertext(),
		Summary:     "Read the latest generation",
	}, a.latestBackup)
	register(a, byDevice, huma.Operation{
		OperationID: "delete-backup",
		Method:      http.MethodDelete,
		Path:        path,
		Summary:     "Delete the backup with all its generations",
		Description: "It can be had back for 7 days.",
	}, a.deleteBackup)
	register(a, byDevice, huma.Operation{
		OperationID: "undelete-backup",
		Method:      http.MethodPost,
		Path:        path + "/undelete",
		Summary:     "Take the deletion of the backup back",
		Description: "Within 7 days, and before another backup was begun. The handles return with it.",
	}, a.undeleteBackup)
	register(a, byDevice, huma.Operation{
		OperationID: "new-restore-handle",
		Method:      http.MethodPost,
		Path:        path + "/handle",
		Summary:     "Replace the restore handle",
		Description: "Three earlier ones still find the backup, for 30 days each, unless they are revoked.",
	}, a.newHandle)
	register(a, byDevice, huma.Operation{
		OperationID: "list-generations",
		Method:      http.MethodGet,
		Path:        path + "/generations",
		Summary:     "List the generations, newest first",
	}, a.generations)
	register(a, byDevice, huma.Operation{
		OperationID: "get-generation",
		Method:      http.MethodGet,
		Path:        path + "/generations/{n}",
		Responses:   ciphertext(),
		Summary:     "Read one generation",
	}, a.generation)
}

// putInput is a generation as a phone sends it. What is wrong with it, and in which order that is looked at, is for the
// domain to say.
type putInput struct {
	AccountPath
	IfMatch     string `header:"If-Match" doc:"ETag of the latest generation; with every generation but the first."`
	IfNoneMatch string `header:"If-None-Match" doc:"* with the first generation."`
	Manifest    string `header:"Backup-Manifest" doc:"A compact JWS by the device key."`
	RawBody     []byte
}

type storedOutput struct {
	ETag string `header:"ETag"`
	Body struct {
		Generation    int64  `json:"generation"`
		Digest        string `json:"digest" doc:"Hex SHA-256 of the body."`
		CreatedAt     string `json:"created_at" format:"date-time"`
		RestoreHandle string `json:"restore_handle,omitempty" doc:"With generation 1; to a repeat for 15 minutes."`
	}
}

func (a *api) putBackup(ctx context.Context, c *caller, in *putInput) (*storedOutput, error) {
	stored, err := a.Backups.Put(ctx, c.proof, backup.PutRequest{
		Precondition: backup.ParsePrecondition(in.IfMatch, in.IfNoneMatch),
		Manifest:     in.Manifest,
		Body:         bytes.Clone(in.RawBody), // its buffer is used again for another call
	}, c.actor)
	if err != nil {
		return nil, err
	}
	out := &storedOutput{ETag: backup.ETag(stored.Generation)}
	out.Body.Generation = stored.Generation
	out.Body.Digest = stored.Digest
	out.Body.CreatedAt = storage.FormatInstant(stored.Created)
	out.Body.RestoreHandle = stored.Handle
	return out, nil
}

// versionOutput is a generation as it was put.
type versionOutput struct {
	ContentType string `header:"Content-Type"`
	ETag        string `header:"ETag"`
	Manifest    string `header:"Backup-Manifest"`
	Body        []byte
}

func versionOf(v *backup.Version, body []byte, err error) (*versionOutput, error) {
	if err != nil {
		return nil, err
	}
	return &versionOutput{"application/octet-stream", backup.ETag(v.Generation), v.Manifest, body}, nil
}

func (a *api) latestBackup(ctx context.Context, c *caller, _ *AccountPath) (*versionOutput, error) {
	return versionOf(a.Backups.Latest(ctx, c.proof))
}

func (a *api) generation(ctx context.Context, c *caller, in *struct {
	AccountPath
	N int64 `path:"n" minimum:"1"`
},
) (*versionOutput, error) {
	return versionOf(a.Backups.Generation(ctx, c.proof, in.N))
}

func (a *api) deleteBackup(ctx context.Context, c *caller, _ *AccountPath) (*struct{}, error) {
	return nil, a.Backups.Delete(ctx, c.proof, c.actor)
}

func (a *api) undeleteBackup(ctx context.Context, c *caller, _ *AccountPath) (*struct{}, error) {
	return nil, a.Backups.Undelete(ctx, c.proof, c.actor)
}

// handleInput says what becomes of the earlier handles. A call without a body says nothing.
type handleInput struct {
	AccountPath
	Body *struct {
		Revoke bool `json:"revoke,omitempty" doc:"The earlier handles end at once."`
	}
}

type handleOutput struct {
	Body struct {
		RestoreHandle string `json:"restore_handle"`
	}
}

func (a *api) newHandle(ctx context.Context, c *caller, in *handleInput) (*handleOutput, error) {
	handle, err := a.Backups.NewHandle(ctx, c.proof, in.Body != nil && in.Body.Revoke, c.actor)
	if err != nil {
		return nil, err
	}
	var out handleOutput
	out.Body.RestoreHandle = handle
	return &out, nil
}

// generationItem is a generation in the list, with all that it can be verified by.
type generationItem struct {
	Generation int64      `json:"generation"`
	Digest     string     `json:"digest"`
	Size       int        `json:"size" doc:"Bytes."`
	Items      int        `json:"items" doc:"Accounts inside, as the phone says."`
	Provider   string     `json:"provider" enum:"server,icloud,google"`
	CreatedAt  string     `json:"created_at" format:"date-time"`
	Manifest   string     `json:"manifest"`
	PublicKey  device.Key `json:"public_key" doc:"The key that signed the manifest."`
	Key        any        `json:"key,omitempty" doc:"As the manifest has it: which key the body is under."`
	Slots      any        `json:"slots,omitempty" doc:"As the manifest has it: the ways to that key."`
	Rekey      any        `json:"rekey,omitempty" doc:"As the manifest has it."`
}

type generationsOutput struct {
	Body []generationItem
}

func (a *api) generations(ctx context.Context, c *caller, _ *AccountPath) (*generationsOutput, error) {
	list, err := a.Backups.Generations(ctx, c.proof)
	if err != nil {
		return nil, err
	}
	out := &generationsOutput{Body: make([]generationItem, 0, len(list))}
	for _, v := range list {
		own := v.Opaque()
		out.Body = append(out.Body, generationItem{
			Generation: v.Generation,
			Digest:     v.Digest,
			Size:       v.Size,
			Items:      v.Items,
			Provider:   string(v.Provider),
			CreatedAt:  storage.FormatInstant(v.Created),
			Manifest:   v.Manifest,
			PublicKey:  v.Key,
			Key:        given(own.Key),
			Slots:      given(own.Slots),
			Rekey:      given(own.Rekey),
		})
	}
	return out, nil
}

// given returns what an app has put into a manifest; nil when it put nothing there.
func given(member json.RawMessage) any {
	if len(member) == 0 || string(member) == "null" {
		return nil
	}
	return member
}
