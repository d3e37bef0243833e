// Package guest makes SEV-SNP evidence inside of a guest: it asks the processor for a
// report through the kernel (configfs-tsm, or /dev/sev-guest), and puts AMD's
// endorsements beside it.
//
// Endorsements come from a file, from the host through the device, or from a server,
// whichever is given first in this order. Where they come from does not matter to who
// verifies them: they lead to AMD's root or are worth nothing. So the servers' own
// certificates are not looked at, which would need a set of authorities in the guest.
//
// What was made is verified here before it is shown: a node whose evidence nobody would
// believe does not start.
package guest
