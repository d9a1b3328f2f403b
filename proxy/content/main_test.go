package content

import (
	"io"
	"net/http"
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
	goleak.VerifyTestMain(hangingUp{m})
}

// hangingUp closes the connections that the driver of a bucket keeps.
type hangingUp struct{ *testing.M }

func (m hangingUp) Run() int {
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	return m.M.Run()
}
