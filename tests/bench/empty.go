package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/gin-gonic/gin"

	"chancery/internal/durable"
	"chancery/internal/identity"
)

// serveEmpty answers everything with one small JSON text, over gin and the node's own
// TLS configuration: the baseline that the rows are divided by.
func serveEmpty(dir string) error {
	pem, err := os.ReadFile(filepath.Join(dir, "empty_cert.pem"))
	if err != nil {
		return err
	}
	key, err := identity.ReadECKey(durable.OS(), filepath.Join(dir, "empty_privk.pem"))
	if err != nil {
		return err
	}
	var cert identity.Certificate
	if err := cert.Set(pem, key); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.NoRoute(func(c *gin.Context) {
		if _, err := io.Copy(io.Discard, c.Request.Body); err != nil {
			return
		}
		c.Data(http.StatusOK, "application/json", []byte("true"))
	})
	s := &http.Server{Handler: engine, TLSConfig: identity.ServerTLS(&cert, "http/1.1")}
	fmt.Println(ln.Addr())
	return s.ServeTLS(ln, "", "")
}

// watcher collects what a process prints and tells when a text has come.
type watcher struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	want string
	seen chan struct{}
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if w.want != "" && bytes.Contains(w.buf.Bytes(), []byte(w.want)) {
		close(w.seen)
		w.want = ""
	}
	return len(p), nil
}

func (w *watcher) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}
