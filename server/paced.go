package server

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// pacedPiece is how much of an answer a client must take within the idle time, in bytes.
const pacedPiece = 64 << 10

// pacedWriter bounds the time for which an HTTP/2 client may refuse to take an answer: a
// closed window keeps the connection alive, so that the bound on writes to the
// connection (conn.Write) never strikes.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration
}

// writer is what the answer to a request is written to.
func (s *Session) writer(g *gin.Context) http.ResponseWriter {
	if g.Request.ProtoMajor != 2 {
		return g.Writer
	}
	return &pacedWriter{g.Writer, http.NewResponseController(g.Writer), s.in.opts.patience()}
}

// Write implements io.Writer. The stream is reset where a piece is not taken in time,
// the last one too, which leaves after the handler has returned.
func (w *pacedWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		if err = w.control.SetWriteDeadline(time.Now().Add(w.idle)); err != nil {
			return n, err
		}
		var took int
		took, err = w.ResponseWriter.Write(p[:min(len(p), pacedPiece)])
		n += took
		p = p[took:]
	}
	return n, err
}
