// Package backupjob is what is done for backups again and again: it makes them by a
// schedule, beside a running service, and drills, in which one is restored and the service
// really recovered from it, on this machine, and thrown away.
//
// # Files
//
// In the workspace of `chancery up`:
//
//	backup.json        the schedule ([Schedule]), read anew before each look at the clock
//	backup_state.json  what became of it ([State])
//
// and in the store drill.json, the outcome of the last drill ([Drilled]).
//
// # Bounds
//
// One thing is done at a time, by one goroutine, each within Schedule.Within. What fails is
// tried again after a pause, and stands in the state, the figures and `chancery status`
// until it works.
package backupjob
