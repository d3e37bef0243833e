//go:build !fakesnp

package node

import "chancery/attest/snp/guest"

// thisMachine is the processor that the node runs on, under AMD's roots.
func thisMachine() (snpPlatform, error) {
	return snpPlatform{open: guest.Open, openKeys: guest.OpenKeys}, nil
}
