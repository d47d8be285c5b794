package managementapi

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server"
	"tutela/storage"
	"tutela/storage/audit"
)

// ResetBody says why a user is reset.
type ResetBody struct {
	Reason      string `json:"reason" minLength:"1" maxLength:"1000"`
	CallerCheck string `json:"caller_check,omitempty" enum:"device_answered,no_answer,document,in_person,other" doc:"How the one who called was checked."`
	Check       string `json:"check,omitempty" maxLength:"128" doc:"With device_answered: the id of the caller check."`
	DryRun      bool   `json:"dry_run,omitempty" doc:"Remove nothing; the receipt says what would go."`
}

func (b ResetBody) request() recovery.ResetRequest {
	return recovery.ResetRequest{
		Reason:      b.Reason,
		CallerCheck: b.CallerCheck,
		Check:       b.Check,
		DryRun:      b.DryRun,
	}
}

type receiptOutput struct{ Body recovery.Receipt }

// resetOf is the result for one of several users: a receipt, or why there is none.
type resetOf struct {
	UserID  string            `json:"user_id"`
	Receipt *recovery.Receipt `json:"receipt,omitempty"`
	Status  int               `json:"statusCode"`
	Message string            `json:"message,omitempty"`
	Code    string            `json:"errorCode,omitempty"`
}

// resetsAtOnce is how many resets of one call run together, so that they share commits.
const resetsAtOnce = 32

func (a *api) mountResets() {
	scopes := []string{"reset:mfa"}
	register(a, call{
		Word:    audit.CallReset,
		Method:  http.MethodPost,
		Path:    "/users/{id}/mfa-reset",
		Summary: "Reset a User's MFA",
		Scopes:  scopes,
		Description: "Removes every record of the user's MFA in one step, and answers the signed receipt. The profile stays. " +
			"A second one removes nothing and says so.",
	}, a.reset)
	register(a, call{
		Word:        audit.CallResetSeveral,
		Method:      http.MethodPost,
		Path:        "/users/mfa-reset",
		Summary:     "Reset Several Users' MFA",
		Scopes:      scopes,
		Description: "One step for each user, at most 1000; the answer says for each, in the order asked.",
	}, a.resetAll)
}

func (a *api) reset(ctx context.Context, actor audit.Actor, in *struct {
	UserPath
	Body ResetBody
},
) (*receiptOutput, error) {
	receipt, err := a.Admins.Reset(ctx, in.ID, in.Body.request(), actor)
	if err != nil {
		return nil, err
	}
	return &receiptOutput{receipt}, nil
}

func (a *api) resetAll(ctx context.Context, actor audit.Actor, in *struct {
	Body struct {
		UserIDs []string `json:"user_ids" nullable:"false" minItems:"1" maxItems:"1000"`
		ResetBody
	}
},
) (*struct{ Body []resetOf }, error) {
	out := make([]resetOf, len(in.Body.UserIDs))
	slots := make(chan struct{}, resetsAtOnce)
	var group sync.WaitGroup
	for i, id := range in.Body.UserIDs {
		slots <- struct{}{}
		group.Go(func() {
			receipt, err := a.Admins.Reset(ctx, id, in.Body.request(), actor)
			out[i] = a.resetOf(id, receipt, err)
			<-slots
		})
	}
	group.Wait()
	return &struct{ Body []resetOf }{out}, nil
}

// resetOf describes the reset of one user of several, in the words that the call for that user alone would answer.
func (a *api) resetOf(id string, receipt recovery.Receipt, err error) resetOf {
	switch problem := translate(err); {
	case err == nil:
		return resetOf{UserID: id, Receipt: &receipt, Status: http.StatusOK}
	case problem != nil:
		return resetOf{
			UserID:  id,
			Status:  problem.Status,
			Message: problem.Message,
			Code:    problem.Code,
		}
	case errors.Is(err, recovery.ErrReason), errors.Is(err, recovery.ErrCallerCheck), errors.Is(err, user.ErrID):
		return resetOf{
			UserID:  id,
			Status:  http.StatusBadRequest,
			Message: server.Message(err),
			Code:    "invalid_body",
		}
	case storage.CodeOf(err) == storage.OutcomeUnknown:
		return resetOf{
			UserID:  id,
			Status:  http.StatusServiceUnavailable,
			Message: server.Message(err),
			Code:    string(storage.OutcomeUnknown),
		}
	case storage.CodeOf(err) == storage.Unavailable:
		return resetOf{
			UserID:  id,
			Status:  http.StatusServiceUnavailable,
			Message: server.Message(err),
			Code:    "unavailable",
		}
	}
	a.Log.Error("reset one of several users", "err", err)
	return resetOf{
		UserID:  id,
		Status:  http.StatusInternalServerError,
		Message: "internal error",
		Code:    "internal_error",
	}
}
