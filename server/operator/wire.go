package operator

import (
	"errors"

	"tutela/storage"
)

// copyPath is the path that answers with a copy of the data file, which is not JSON.
const copyPath = "/copy"

// The trailer of a copy: how many bytes it has, or what went wrong on the way.
const (
	trailerSize  = "Tutela-Size"
	trailerError = "Tutela-Error"
)

// wireError is an error on the socket. Code is empty for an error without a code; the operator sees that one whole too.
type wireError struct {
	Code    storage.Code `json:"code,omitempty"`
	Message string       `json:"message"`
}

func wireErrorOf(err error) wireError {
	return wireError{Code: storage.CodeOf(err), Message: err.Error()}
}

func (e wireError) error() error {
	if e.Code == "" {
		return errors.New(e.Message)
	}
	return storage.NewError(e.Code, e.Message)
}
