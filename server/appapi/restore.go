package appapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/server"
	"tutela/storage"
)

func (a *api) mountRestore() {
	const path = "/api/restores"
	register(a, byNobody, huma.Operation{
		OperationID:   "start-restore",
		Method:        http.MethodPost,
		Path:          path,
		DefaultStatus: http.StatusCreated,
		Summary:       "Begin to come back after a reinstall",
		Description:   "The answer decides what comes next, and why. From the sixth start per handle and hour it wants a Restore-Proof.",
	}, a.startRestore)
	register(a, byRestore, huma.Operation{
		OperationID: "get-restore",
		Method:      http.MethodGet,
		Path:        path + "/{id}",
		Summary:     "How does the restore stand?",
		Description: "With a Restore-Proof, a restore that is done gives its answer again: for 15 minutes as it was, and for 30 days anew, " +
			"with a new token and handle, until the enrollment's first call.",
	}, a.restoreState)
	register(a, byRestore, huma.Operation{
		OperationID: "restore-with-code",
		Method:      http.MethodPost,
		Path:        path + "/{id}/recovery-code",
		Summary:     "Take over with the recovery code",
		Description: "The same call again gets the same answer, until the enrollment's first call and for 15 minutes at most. " +
			"Before wait_until no code is looked at: 409 with Retry-After.",
	}, a.restoreWithCode)
	register(a, byRestore, huma.Operation{
		OperationID: "restore-as-new",
		Method:      http.MethodPost,
		Path:        path + "/{id}/first-time-setup",
		Summary:     "Give the restore up and start over",
		Description: "Nothing of the old installation changes, and no code is declared lost. Admins see it.",
	}, a.firstTimeSetup)
	a.mountSay()
}

// mountSay mounts what the user's other phones have to say about a restore.
func (a *api) mountSay() {
	const path = "/api/restores"
	register(a, bySigner, huma.Operation{
		OperationID:   "veto-restore",
		Method:        http.MethodPost,
		Path:          path + "/{id}/veto",
		DefaultStatus: http.StatusNoContent,
		Summary:       "Stop a restore, from any phone of the user's",
		Description:   "For 24 hours no restore of that backup goes on. It beats every allow.",
	}, a.veto)
	register(a, bySigner, huma.Operation{
		OperationID:   "allow-restore",
		Method:        http.MethodPost,
		Path:          path + "/{id}/allow",
		DefaultStatus: http.StatusNoContent,
		Summary:       "Let a restore go on at once, from the old installation",
		Description:   "It ends the wait until wait_until. The new installation's code is asked for all the same.",
	}, a.allow)
	register(a, byLateSigner, huma.Operation{
		OperationID:   "dispute-restore",
		Method:        http.MethodPost,
		Path:          path + "/{id}/dispute",
		DefaultStatus: http.StatusNoContent,
		Summary:       "Say that who took over was not this phone's person",
		Description: "By the key of an enrollment that was retired within 24 hours: by a restore, or by a ticket, which is named as the " +
			"rst of its notice.",
	}, a.dispute)
	register(a, byDevice, huma.Operation{
		OperationID: "list-restores",
		Method:      http.MethodGet,
		Path:        "/api/device-accounts/{id}/restores",
		Summary:     "List the open restores of the user, which this phone may veto",
	}, a.waitingRestores)
}

// startInput is what a new installation says that it has.
type startInput struct {
	Proof string `header:"Restore-Proof" doc:"A compact JWS by public_key: handle (hex SHA-256 of restore_handle) and iat."`
	Body  struct {
		installation
		Handle           *string `json:"restore_handle,omitempty" maxLength:"512" doc:"What the platform brought along."`
		AutomaticRestore *bool   `json:"automatic_restore,omitempty" doc:"false: the phone says so, or the person wants a clean start."`
	}
}

// restoreState is a restore as its holder sees it.
type restoreState struct {
	ID        string           `json:"id"`
	Step      string           `json:"step" enum:"first_time_setup,recovery_code,ask_admin,done"`
	Reason    string           `json:"reason"`
	ExpiresAt string           `json:"expires_at" format:"date-time"`
	WaitUntil string           `json:"wait_until,omitempty" format:"date-time" doc:"With reason old_device_asked: a code that comes before it is not looked at."`
	Help      string           `json:"help,omitempty" format:"uri" doc:"The installation's page for the person, with ask_admin and first_time_setup."`
	Result    *restoredOutcome `json:"result,omitempty" doc:"Of one that is done, with a Restore-Proof."`
}

// stateOf describes a restore. What the person can do where the app cannot go on stands on a page of ours.
func (a *api) stateOf(s *restore.State) restoreState {
	out := restoreState{
		ID:        s.ID,
		Step:      string(s.Step),
		Reason:    string(s.Reason),
		ExpiresAt: storage.FormatInstant(s.Expires),
	}
	if !s.WaitUntil.IsZero() {
		out.WaitUntil = storage.FormatInstant(s.WaitUntil)
	}
	if s.Step == restore.StepAskAdmin || s.Step == restore.StepFirstTimeSetup {
		out.Help = a.Devices.PublicURL() + server.HelpPath + "#" + string(s.Reason)
	}
	if s.Result != nil {
		out.Result = outcomeOf(s.Result)
	}
	return out
}

// restoredOutcome is the answer of an enrolment, and what a restore adds to it.
type restoredOutcome struct {
	device.Enrolled
	RestoreHandle string          `json:"restore_handle" doc:"A new one; the old one is dead."`
	Backup        restoredVersion `json:"backup" doc:"The latest, to be read with the new enrollment."`
}

type restoredVersion struct {
	Generation int64  `json:"generation"`
	Digest     string `json:"digest"`
	Size       int    `json:"size"`
	Items      int    `json:"items"`
	CreatedAt  string `json:"created_at" format:"date-time"`
}

func outcomeOf(o *restore.Outcome) *restoredOutcome {
	v := &o.Backup
	return &restoredOutcome{o.Enrolled, o.RestoreHandle, restoredVersion{v.Generation, v.Digest, v.Size, v.Items, storage.FormatInstant(v.Created)}}
}

type startOutput struct {
	Body struct {
		restoreState
		Token string `json:"token" doc:"For the calls about this restore."`
	}
}

func (a *api) startRestore(ctx context.Context, c *caller, in *startInput) (*startOutput, error) {
	app, err := in.Body.device()
	if err != nil {
		return nil, err
	}
	req := restore.StartRequest{
		Disabled:     in.Body.AutomaticRestore != nil && !*in.Body.AutomaticRestore,
		Installation: app,
		Proof:        in.Proof,
		Address:      server.CallOf(ctx).Address.String(),
	}
	if in.Body.Handle != nil {
		req.Handle = *in.Body.Handle
	}
	started, err := a.Restores.Start(ctx, req, c.actor)
	if err != nil {
		return nil, err
	}
	var out startOutput
	out.Body.restoreState = a.stateOf(&started.State)
	out.Body.Token = started.Token
	return &out, nil
}

// RestorePath is the part of an input that names the restore.
type RestorePath struct {
	ID string `path:"id" doc:"The restore's id."`
}

type stateOutput struct {
	Body restoreState
}

func (a *api) restoreState(ctx context.Context, c *caller, in *struct {
	RestorePath
	Proof string `header:"Restore-Proof" doc:"A compact JWS by the new key: restore (its id) and iat."`
},
) (*stateOutput, error) {
	state, err := a.Restores.State(ctx, in.ID, c.credential, in.Proof, c.actor)
	if err != nil {
		return nil, err
	}
	return &stateOutput{a.stateOf(state)}, nil
}

type outcomeOutput struct {
	Body *restoredOutcome
}

func (a *api) restoreWithCode(ctx context.Context, c *caller, in *struct {
	RestorePath
	Body typedCode
},
) (*outcomeOutput, error) {
	outcome, err := a.Restores.RestoreWithCode(ctx, in.ID, c.credential, in.Body.RecoveryCode, c.actor)
	if err != nil {
		return nil, err
	}
	return &outcomeOutput{outcomeOf(outcome)}, nil
}

func (a *api) firstTimeSetup(ctx context.Context, c *caller, in *RestorePath) (*stateOutput, error) {
	state, err := a.Restores.FirstTimeSetup(ctx, in.ID, c.credential, c.actor)
	if err != nil {
		return nil, err
	}
	return &stateOutput{a.stateOf(state)}, nil
}

func (a *api) veto(ctx context.Context, c *caller, in *RestorePath) (*struct{}, error) {
	return nil, a.Restores.Veto(ctx, c.proof, in.ID, c.actor)
}

func (a *api) allow(ctx context.Context, c *caller, in *RestorePath) (*struct{}, error) {
	return nil, a.Restores.Allow(ctx, c.proof, in.ID, c.actor)
}

func (a *api) dispute(ctx context.Context, c *caller, in *RestorePath) (*struct{}, error) {
	return nil, a.Restores.Dispute(ctx, c.proof, in.ID, c.actor)
}

// waitingRestore is a restore as a phone of the user sees it.
type waitingRestore struct {
	ID        string `json:"id"`
	Step      string `json:"step"`
	Reason    string `json:"reason"`
	Name      string `json:"name" doc:"Of the phone that wants to take over."`
	StartedAt string `json:"started_at" format:"date-time"`
	ExpiresAt string `json:"expires_at" format:"date-time"`
	WaitUntil string `json:"wait_until,omitempty" format:"date-time"`
	MayAllow  bool   `json:"may_allow" doc:"It would retire this installation, whose word lets it go on at once."`
}

type waitingOutput struct {
	Body []waitingRestore
}

func (a *api) waitingRestores(ctx context.Context, c *caller, in *struct {
	AccountPath
	Waiting
},
) (*waitingOutput, error) {
	out := &waitingOutput{Body: []waitingRestore{}}
	err := a.server.Waits().Hold(ctx, "restores:"+c.proof.ID, in.duration(), func(ctx context.Context, wait time.Duration) error {
		list, err := a.Restores.Await(ctx, c.proof, wait)
		for _, r := range list {
			item := waitingRestore{
				ID:        r.ID,
				Step:      string(r.Step),
				Reason:    string(r.Reason),
				Name:      r.Name,
				StartedAt: storage.FormatInstant(r.Started),
				ExpiresAt: storage.FormatInstant(r.Expires),
				MayAllow:  r.MayAllow,
			}
			if !r.WaitUntil.IsZero() {
				item.WaitUntil = storage.FormatInstant(r.WaitUntil)
			}
			out.Body = append(out.Body, item)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
