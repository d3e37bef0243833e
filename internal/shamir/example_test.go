package shamir_test

import (
	"bytes"
	"crypto/rand"
	"fmt"

	"chancery/internal/shamir"
)

// Three members hold shares; two of them recover the wrapping key.
func Example() {
	secret, err := shamir.NewSecret(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	shares, err := secret.Split(rand.Reader, 2, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	third, _ := shamir.ParseShare(shares[2].Bytes()) // as a member sends it
	back, err := shamir.Combine([]shamir.Share{third, shares[0]}, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	before, _ := secret.WrappingKey()
	after, _ := back.WrappingKey()
	fmt.Println(len(shares[0].Bytes()), third, bytes.Equal(before, after))
	// Output: 44 [share 3] true
}
