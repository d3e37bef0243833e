package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"chancery/internal/nodelog"
	"chancery/internal/secmem"
	"chancery/internal/version"
	"chancery/node"
	"chancery/node/config"
	"chancery/server"
)

// stopWithin bounds a graceful stop: scripts wait for ten seconds.
const stopWithin = 9 * time.Second

// Run is a node's program: it runs a node with the given command line until a signal
// ends it, and returns the exit code. app is the application that is compiled in, nil
// for none. It writes the log, and nothing else, to stdout.
func Run(args []string, stdout io.Writer, app *server.App) int {
	o, code, done := parseFlags(args, stdout)
	if done {
		return code
	}
	return start(o, stdout, app)
}

// start reads the configuration and runs the node until a signal ends it.
func start(o options, stdout io.Writer, app *server.App) int {
	log := nodelog.New(stdout, nodelog.Text, o.level)
	hardening := secmem.HardenProcess()
	cfg, err := config.Load(context.Background(), o.config, o.configTimeout)
	if err != nil {
		return fail(log, err)
	}
	if o.check {
		fmt.Fprintf(stdout, "%s is valid\n", o.config)
		return exitOK
	}
	if cfg.Logging.Format == config.LogJSON {
		log = nodelog.New(stdout, nodelog.JSON, o.level)
	}
	log.Info("chanceryd " + version.String())
	for _, w := range cfg.Warnings {
		log.Info(w)
	}
	if hardening != nil {
		log.Info("process hardening is not complete", "err", hardening)
	}
	if err := cfg.CheckFiles(""); err != nil {
		return fail(log, err)
	}
	return withPIDFile(log, cfg.OutputFiles.PIDFile, func() int { return serve(log, cfg, app) })
}

// serve runs the node and turns its end into an exit code.
func serve(log *slog.Logger, cfg *config.Config, app *server.App) int {
	s := catchSignals(log, cfg.IgnoreFirstSIGTERM)
	defer s.close()
	ctx, cancel := context.WithCancel(s.ctx)
	var pacing sync.WaitGroup
	pacing.Go(func() { paceCollector(ctx) })
	defer pacing.Wait()
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- node.Run(s.ctx, cfg, node.Options{
			App: app, Log: log, Version: version.Release, StopNotice: s.notice,
		})
	}()
	var err error
	select {
	case err = <-ended:
	case <-s.ctx.Done():
		late := time.NewTimer(stopWithin)
		defer late.Stop()
		select {
		case err = <-ended:
		case <-late.C:
			err = fmt.Errorf("the node did not stop within %v", stopWithin)
		}
	}
	if err != nil {
		return fail(log, err)
	}
	log.Info("stopped")
	return exitOK
}

// fail logs why the program ends, one line per problem, and returns the exit code.
func fail(log *slog.Logger, err error) int {
	var invalid *config.InvalidError
	var syntax *config.SyntaxError
	var path *os.PathError
	switch {
	case errors.As(err, &invalid):
		for _, p := range invalid.Problems {
			log.Log(context.Background(), nodelog.LevelFatal, p.String())
		}
		return exitInvalid
	case errors.As(err, &syntax):
		log.Log(context.Background(), nodelog.LevelFatal, err.Error())
		return exitInvalid
	case errors.As(err, &path) && path.Op == "open":
		log.Log(context.Background(), nodelog.LevelFatal, err.Error())
		return exitFile
	}
	log.Log(context.Background(), nodelog.LevelFatal, err.Error())
	return exitFailed
}
