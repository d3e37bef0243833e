package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hashicorp/raft"

	"chancery/internal/durable"
	"chancery/internal/nodelog"
	"chancery/kv"
	"chancery/ledger"
	"chancery/node/config"
	"chancery/raftfsm"
	"chancery/server"
)

// Run is a node's whole life: it returns when ctx ends and everything has stopped,
// or with the first error that ends the node.
func Run(ctx context.Context, cfg *config.Config, o Options) error {
	if o.FS == nil {
		o.FS = durable.OS()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n, err := open(ctx, cfg, o)
	if err != nil {
		return err
	}
	switch err = n.run(ctx); {
	case errors.Is(err, errRetired):
		err = nil
	case errors.Is(err, errDecided):
		n.log.Info(err.Error())
		err = nil
	}
	return errors.Join(err, n.ledger.Close())
}

// open builds the node up to the point where it can be served. On an error
// everything that was opened is closed again.
func open(ctx context.Context, cfg *config.Config, o Options) (_ *Node, err error) {
	n := &Node{
		cfg: cfg, opts: o, store: kv.NewStore(), committed: make(chan struct{}, 1),
		led: make(chan struct{}), opened: make(chan struct{}),
	}
	if n.snp = o.snp; n.snp.open == nil {
		if n.snp, err = thisMachine(); err != nil {
			return nil, err
		}
	}
	n.decider = n.newDecision()
	n.log = nodelog.Context(o.Log, n.logged)
	n.disk = newDisk(cfg.SlowIOLoggingThreshold, o.Now, n.log)
	n.fs = durable.Watch(o.FS, o.Now, n.disk.done)
	n.refresher, n.membership = newKeyRefresher(n), newMembership(n)
	n.snapshots, n.fetcher = newSnapshotter(n), newSnapshotFetcher(n)
	n.scrubber, n.backfiller = newScrubber(n), newBackfiller(n)
	n.history = newHistoryCache(int64(cfg.HistoricalCacheSoftLimit))
	n.state.Store(stateInitialized)
	switch cfg.Command.Type {
	case config.CommandStart, config.CommandJoin, config.CommandResume, config.CommandRecover:
	default:
		return nil, fmt.Errorf("command.type %s: not known", cfg.Command.Type)
	}
	if cfg.Command.Type == config.CommandStart {
		if err := n.checkUnused(); err != nil {
			return nil, err
		}
	}
	if err := n.fs.MkdirAll(cfg.Snapshots.Directory, 0o755); err != nil {
		return nil, fmt.Errorf("snapshots.directory: %w", err)
	}
	if err := n.openLedger(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.ledger.Close())
		}
	}()
	if n.listeners, err = bind(ctx, cfg); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.listeners.close())
		}
	}()
	if err := n.writeAddressFiles(); err != nil {
		return nil, err
	}
	switch cfg.Command.Type {
	case config.CommandStart:
		err = n.prepareStart(ctx)
	case config.CommandJoin:
		err = n.prepareJoin(ctx)
	case config.CommandRecover:
		err = n.prepareRecover(ctx)
	default:
		err = n.prepareResume()
	}
	if err != nil {
		return nil, err
	}
	if err := writePublic(n.fs, cfg.OutputFiles.NodeCertificateFile, []byte(n.certs.selfSigned())); err != nil {
		return nil, err
	}
	if n.joins() {
		return n, nil // it takes part once it is trusted
	}
	return n, n.openReplica(ctx)
}

// checkUnused refuses to begin a new service where files of another one are: the
// genesis would stand beside them, or in their place.
func (n *Node) checkUnused() error {
	var found config.InvalidError
	refuse := func(key, format string, args ...any) {
		found.Problems = append(found.Problems, config.Problem{Path: key, Text: fmt.Sprintf(format, args...)})
	}
	const remedy = "; command.type is Start, which makes a new service: empty it, name another one, or use Resume for the service that is there"
	for key, dir := range map[string]string{"ledger.directory": n.cfg.Ledger.Directory, "ledger.directory (Raft's files beside it)": raftDir(n.cfg)} {
		entries, err := n.fs.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking into %s: %w", dir, err)
		}
		if len(entries) > 0 {
			refuse(key, "On start, ledger directory should not exist or be empty (%s)"+remedy, dir) // CCF's words
		}
	}
	if path := n.cfg.Chancery.KeyFile; path != "" {
		if _, err := n.fs.Stat(path); err == nil {
			refuse("chancery.key_file", "%s exists, and holds the keys of another service"+remedy, path)
		}
	}
	if found.Problems != nil {
		return &found
	}
	return nil
}

// openLedger opens the ledger directory.
func (n *Node) openLedger() (err error) {
	if err := n.finishRecovery(); err != nil {
		return err
	}
	dir := n.cfg.Ledger.Directory
	if n.ledger, err = ledger.OpenDir(n.fs, dir, n.cfg.Ledger.ReadOnlyDirectories); err != nil {
		return fmt.Errorf("opening the ledger: %w", err)
	}
	empty := n.ledger.Last().Seqno == 0
	if n.cfg.Command.Type == config.CommandResume && empty {
		return errors.Join(fmt.Errorf("command Resume: the ledger directory %s holds no signed transaction; a new service begins with Start", dir), n.ledger.Close())
	}
	return nil
}

// openReplica joins ledger, store and Raft.
func (n *Node) openReplica(ctx context.Context) error {
	peers := raftfsm.PeersConfig{
		Listener: n.listeners.node, Advertise: n.listeners.nodeAddress, TLS: n.peerTLS,
		MaxRecords: uint64(n.cfg.NodeToNodeMessageLimit),
		Timeout:    n.cfg.ClientConnectionTimeout, Now: n.opts.Now, Log: n.log,
	}
	var err error
	if peers.LocalAddr, err = localAddress(n.cfg.NodeClientInterface); err != nil {
		return err
	}
	if n.peers, err = raftfsm.NewPeers(peers); err != nil {
		return err
	}
	n.listeners.nodeTakeover = true
	n.forwarder, n.files = newForwarder(n, n.peers), n.peers.Stream(protocolFiles)
	transport := n.peers.NewTransport()
	var base *raftfsm.Base
	switch n.cfg.Command.Type {
	case config.CommandResume:
		base, err = n.takeUpSnapshot()
	case config.CommandRecover:
		base, err = n.beginRecovered()
	case config.CommandJoin:
		base, err = n.joiner.beginWithSnapshot()
	}
	if err != nil {
		return errors.Join(err, n.closePeers(transport))
	}
	n.initIndex = n.ledger.First() - 1
	cfg := raftfsm.Config{
		ID: n.keys.id, Dir: raftDir(n.cfg), FS: n.fs, Ledger: n.ledger, Secrets: n.secrets, Store: n.store,
		Sign: n.sign, NextSecret: n.nextSecret, Transport: transport, Address: raft.ServerAddress(n.listeners.nodeAddress),
		ElectionTimeout:   n.cfg.Consensus.ElectionTimeout,
		SignatureInterval: int(n.cfg.LedgerSignatures.TxCount), SignatureDelay: n.cfg.LedgerSignatures.Delay,
		ChunkSize: uint64(n.cfg.Ledger.ChunkSize), MaxUncommitted: int(n.cfg.Consensus.MaxUncommittedTxCount),
		UnsafeNoFsync: n.cfg.Chancery.Fsync == config.FsyncNever,
		Stored:        func(took time.Duration) { n.disk.done(opRaftLog, "raft.db", took) },
		MaxWriteBytes: int(n.cfg.Memory.MaxMsgSize),
		SnapshotDue:   n.snapshots.isDue, Snapshot: n.snapshots.take, Base: base,
		Missing: n.backfiller.missing, Reached: n.reachedBy,
		Now: n.opts.Now, Committed: n.raise, Led: n.leads, Log: n.log,
	}
	if n.cfg.Command.Type == config.CommandStart {
		if err := raftfsm.Bootstrap(cfg); err != nil {
			return errors.Join(err, n.closePeers(transport))
		}
	}
	cfg.PublicOnly = n.publicOnly()
	if n.cfg.Command.Type == config.CommandRecover {
		cfg.Creates = true
		if err := raftfsm.Found(cfg); err != nil {
			return errors.Join(err, n.closePeers(transport))
		}
	}
	if n.cfg.Command.Type == config.CommandResume {
		if err := n.checkAlone(ctx); err != nil {
			return errors.Join(err, n.closePeers(transport))
		}
		if err := raftfsm.Reseat(cfg, uint64(n.cfg.Chancery.ResumeAfterView)); err != nil {
			return errors.Join(err, n.closePeers(transport))
		}
	}
	cfg.KnownSecrets = n.known
	r, err := raftfsm.Open(ctx, cfg)
	if err != nil {
		return errors.Join(err, n.closePeers(transport))
	}
	n.current.Store(r)
	close(n.opened)
	return nil
}

// closePeers ends the node-to-node network of a replica that did not open.
func (n *Node) closePeers(t *raftfsm.PinnedTransport) error {
	return errors.Join(t.Close(), n.peers.Close())
}

// localAddress parses node_client_interface: a host, or host:port.
func localAddress(s string) (*net.TCPAddr, error) {
	if s == "" {
		return nil, nil
	}
	if _, _, err := net.SplitHostPort(s); err != nil {
		s = net.JoinHostPort(s, "0")
	}
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		return nil, fmt.Errorf("node_client_interface: %w", err)
	}
	return a, nil
}

// raftDir is where Raft's own files lie: beside the ledger directory, never in it,
// since auditors copy that one.
func raftDir(cfg *config.Config) string {
	return filepath.Join(filepath.Dir(filepath.Clean(cfg.Ledger.Directory)), filepath.Base(cfg.Ledger.Directory)+".raft")
}

// run serves until ctx ends: first the servers stop and finish what they have, then
// the replica signs and stops.
func (n *Node) run(ctx context.Context) error {
	replicaCtx, stopReplica := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReplica()
	replicaEnded := make(chan error, 1)
	go func() { replicaEnded <- n.runReplica(replicaCtx) }()

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { // a halted replica ends everything else
		select {
		case err := <-replicaEnded:
			replicaEnded <- err
			return fmt.Errorf("the replica ended: %w", orStopped(err))
		case <-gctx.Done():
			return nil
		}
	})
	g.Go(func() error { return n.runReconcilers(gctx) })
	g.Go(func() error { return n.refresher.run(gctx) })
	g.Go(func() error { return n.membership.run(gctx) })
	g.Go(func() error { return n.runOrphan(gctx) })
	g.Go(func() error { return n.snapshots.run(gctx) })
	g.Go(func() error { return n.fetcher.run(gctx) })
	g.Go(func() error { return newCleaner(n).run(gctx) })
	g.Go(func() error { return n.runPending(gctx) })
	g.Go(func() error { return n.scrubber.run(gctx) })
	g.Go(func() error { return n.backfiller.run(gctx) })
	g.Go(func() error { return n.serveFiles(gctx) })
	g.Go(func() error { return n.runRecovery(gctx) })
	g.Go(func() error { return n.runDecision(gctx) })
	g.Go(func() error { return n.runRenewal(gctx) })
	g.Go(func() error { return n.runRevocations(gctx) })
	if n.opts.StopNotice != nil {
		g.Go(func() error {
			select {
			case <-n.opts.StopNotice:
				n.stopNotice.Store(true)
				n.standDown(gctx)
			case <-gctx.Done():
			}
			return nil
		})
	}
	if err := n.serve(gctx, g); err != nil {
		g.Go(func() error { return err })
	}
	g.Go(func() error { return n.begin(gctx) })
	err := g.Wait()
	stopReplica()
	err = errors.Join(err, <-replicaEnded)
	if n.peers != nil {
		err = errors.Join(err, n.peers.Close())
	}
	return err
}

// runReplica runs the replica from when it is there.
func (n *Node) runReplica(ctx context.Context) error {
	select {
	case <-n.opened:
		return n.replica().Run(ctx)
	case <-ctx.Done():
		return nil
	}
}

// standDown hands the primary's role over when the operator announces the node's end.
func (n *Node) standDown(ctx context.Context) {
	if !n.Position().Primary {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Consensus.ElectionTimeout)
	defer cancel()
	if err := n.replica().Transfer(ctx); err != nil {
		n.log.Info("the primary's role was not handed over", "err", err)
	}
}

func orStopped(err error) error {
	if err == nil {
		return errors.New("stopped")
	}
	return err
}

// serveForwarded answers what other nodes forward, from when the node takes part.
func (n *Node) serveForwarded(ctx context.Context, s *server.Server) error {
	select {
	case <-n.opened:
		return n.forwarder.serve(ctx, s)
	case <-ctx.Done():
		return nil
	}
}

// serve starts one server goroutine per RPC interface.
func (n *Node) serve(ctx context.Context, g *errgroup.Group) error {
	interfaces, err := n.interfacesJSON()
	if err != nil {
		return err
	}
	s, err := server.New(server.Config{
		Node: n, App: n.opts.App, Log: n.log, Version: n.opts.Version, Platform: string(n.cfg.Chancery.Platform), Now: n.opts.Now,
		MaxUncommitted:   uint64(n.cfg.Consensus.MaxUncommittedTxCount),
		RespondCommitted: n.cfg.Chancery.Respond == config.RespondCommitted,
		NodeInterfaces:   interfaces,
		PendingTimeout:   n.cfg.PendingNodeTimeout,
		Verifier:         n.verifier(),
		Decision:         n.decider,
		SignMode:         string(n.cfg.Chancery.LedgerSignMode),
	})
	if err != nil {
		return fmt.Errorf("building the server: %w", err)
	}
	for _, b := range n.listeners.rpc {
		g.Go(func() error { return s.Serve(ctx, b.listener, n.options(b)) })
	}
	if n.opts.App != nil {
		g.Go(func() error { return s.Index(ctx) })
	}
	if ln := n.listeners.metrics; ln != nil {
		g.Go(func() error { return n.serveMetrics(ctx, ln, s) })
	}
	g.Go(func() error { return n.serveForwarded(ctx, s) })
	return nil
}
