package config

import "time"

// Ledger says where ledger chunks lie and how large they grow.
type Ledger struct {
	// Directory is written by this node. Start wants it absent or empty.
	Directory string `json:"directory"`
	// ReadOnlyDirectories hold further committed chunks; they are only read.
	ReadOnlyDirectories []string `json:"read_only_directories"`
	// ChunkSize is the size at which a chunk is closed by the next signature.
	ChunkSize Size `json:"chunk_size"`
}

// Snapshots says where snapshots lie and when they are taken.
type Snapshots struct {
	// Directory is written by this node.
	Directory string `json:"directory"`
	// TxCount is the number of transactions after which a snapshot is taken.
	TxCount int64 `json:"tx_count" config:"min=1"`
	// MinTxCount is the number of transactions, those of a snapshot itself included, that
	// must be exceeded before time alone is a reason for the next one.
	MinTxCount int64 `json:"min_tx_count" config:"min=0"`
	// TimeInterval is the time after which a snapshot is taken, also of a service to which
	// nobody writes any more; 0 is off.
	TimeInterval time.Duration `json:"time_interval"`
	// ReadOnlyDirectory holds further snapshots. Deprecated by CCF: a warning is logged.
	ReadOnlyDirectory string `json:"read_only_directory" config:"nullable,none"`
	// BackupFetch makes a backup fetch the primary's snapshots.
	BackupFetch BackupFetch `json:"backup_fetch"`
}

// BackupFetch makes a backup fetch the primary's snapshots.
type BackupFetch struct {
	// Enabled turns it on.
	Enabled bool `json:"enabled"`
	// MaxAttempts bounds the attempts for one snapshot.
	MaxAttempts int64 `json:"max_attempts" config:"min=1"`
	// RetryInterval is the time between two attempts.
	RetryInterval time.Duration `json:"retry_interval"`
	// TargetRPCInterface is the name of the primary's interface that is asked.
	TargetRPCInterface string `json:"target_rpc_interface"`
	// MaxSize bounds the snapshot fetched.
	MaxSize Size `json:"max_size"`
}

// FilesCleanup says which old files a node removes.
type FilesCleanup struct {
	// MaxSnapshots is the number of committed snapshots kept; nil (null) keeps all.
	MaxSnapshots *int64 `json:"max_snapshots" config:"nullable,min=1"`
	// MaxCommittedLedgerChunks is the number of committed chunks kept in the main
	// directory; older ones go once a read-only directory holds the same bytes. nil
	// (null) keeps all.
	MaxCommittedLedgerChunks *int64 `json:"max_committed_ledger_chunks" config:"nullable,min=0"`
	// Interval is the time between two looks.
	Interval time.Duration `json:"interval"`
}
