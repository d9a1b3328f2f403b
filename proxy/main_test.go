package proxy_test

import (
	"io"
	"testing"

	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // the publisher's library logs here
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction(sandbox.LeakedGoroutine))
}
