package proxy

import (
	"errors"
	"testing"
)

func TestErrorsAreTold(t *testing.T) {
	cause := errors.New("dial tcp 10.1.2.3")
	e := errNoRoute.because(cause)
	if !errors.Is(asError(e), error(e)) || e.Error() != errNoRoute.Message+": dial tcp 10.1.2.3" || errNoRoute.Cause != nil {
		t.Errorf("got %v, and the table's own %v", e, errNoRoute.Cause)
	}
	if got := asError(cause); got.Status != 500 || got.Message != errInternal.Message || got.Cause != cause {
		t.Errorf("got %+v", got)
	}
}
