package identity_test

import (
	"crypto/elliptic"
	"fmt"
	"time"

	"chancery/internal/identity"
)

// A service is born, and endorses its first node.
func Example() {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	validity, _ := identity.ValidFor(now, 90)
	serviceName, _ := identity.ParseSubject("CN=CCF Service")
	serviceKey, _ := identity.GenerateKey(elliptic.P384())
	servicePEM, _ := identity.SelfSignedService(serviceKey, serviceName, validity)
	service, err := identity.ParseCertificate(servicePEM)
	if err != nil {
		fmt.Println(err)
		return
	}

	nodeName, _ := identity.ParseSubject("CN=CCF Node")
	nodeKey, _ := identity.GenerateKey(elliptic.P384())
	address, _ := identity.ParseAltName("iPAddress:127.0.0.1")
	request, _ := identity.NewRequest(nodeKey, nodeName, []identity.AltName{address})
	nodePEM, err := identity.EndorseNode(request, serviceKey, service, validity)
	if err != nil {
		fmt.Println(err)
		return
	}
	node, _ := identity.ParseCertificate(nodePEM)
	fmt.Println(node.Issuer, node.IPAddresses, node.NotAfter.Format(time.DateTime), identity.IssuedBy(node, service))
	// Output: CN=CCF Service [127.0.0.1] 2027-02-23 11:59:59 <nil>
}
