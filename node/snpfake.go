//go:build fakesnp

package node

import (
	"os"

	"chancery/attest/snp/guest"
	"chancery/attest/snp/snptest"
)

// thisMachine is a fake processor from a file, under its own root: programs that tests
// build with the tag fakesnp run on it. What is released is built without, and has nothing
// of it.
func thisMachine() (snpPlatform, error) {
	m, err := snptest.Load(os.Getenv("CHANCERY_FAKE_SNP"))
	if err != nil {
		return snpPlatform{}, err
	}
	return snpPlatform{
		open:     func() (guest.Device, error) { return m, nil },
		openKeys: func() (guest.KeyDevice, error) { return m, nil },
		roots:    m.Roots(),
	}, nil
}
