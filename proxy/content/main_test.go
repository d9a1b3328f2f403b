package content

import (
	"io"
	"os"
	"testing"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // distribution's
	if directory := os.Getenv(childDirectory); directory != "" {
		child(directory)
	}
	goleak.VerifyTestMain(m)
}
