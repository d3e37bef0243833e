package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"

	"chancery/internal/nodelog"
)

// withPIDFile runs the node while a file with the process id stands. The file must not
// be there before: a second node over the same files would be worse than none. Every
// end but a crash removes it (CCF never does).
func withPIDFile(log *slog.Logger, name string, run func() int) int {
	switch err := writePIDFile(name); {
	case errors.Is(err, fs.ErrExist):
		log.Log(context.Background(), nodelog.LevelFatal, fmt.Sprintf("PID file %s already exists. Exiting.", name))
		return exitFile
	case err != nil:
		log.Log(context.Background(), nodelog.LevelFatal, fmt.Sprintf("PID file %s cannot be written: %v", name, err))
		return exitFile
	}
	code := run()
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Info("PID file not removed", "err", err)
	}
	return code
}

// writePIDFile creates the file with the process id, decimal and without newline.
// Readers never see it half written: it gets its name when it is whole.
func writePIDFile(name string) error {
	whole := fmt.Sprintf("%s.%d.tmp", name, os.Getpid())
	if err := os.WriteFile(whole, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return err
	}
	return errors.Join(os.Link(whole, name), os.Remove(whole))
}
