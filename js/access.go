package js

import (
	"fmt"
	"strings"
)

// Access is the execution context of a script, which decides the maps it may use.
type Access uint8

// The execution contexts of CCF: ccf-features 4.4 and 4.5.
const (
	AppReadWrite Access = iota // endpoints of mode readwrite
	AppReadOnly                // endpoints of mode readonly and historical
	GovReadOnly                // ballots, validate and resolve of the constitution
	GovReadWrite               // apply of the constitution
)

func (a Access) String() string {
	switch a {
	case AppReadWrite:
		return "application"
	case AppReadOnly:
		return "read-only application"
	case GovReadOnly:
		return "read-only governance"
	case GovReadWrite:
		return "read-write governance"
	}
	return fmt.Sprintf("Access(%d)", uint8(a))
}

// rights is what a context may do with one map.
type rights uint8

const (
	mayRead rights = 1 << iota
	mayWrite
	inaccessible rights = 0
)

func (r rights) String() string {
	switch r {
	case mayRead:
		return "read-only"
	case mayWrite:
		return "write-only"
	case inaccessible:
		return "inaccessible"
	}
	return "read-write"
}

// Restriction narrows what a script may do with a map: whether it may read and write it,
// as far as it might otherwise, and for refusals why not.
type Restriction func(table string) (read, write bool, why string)

// refuses says whether the restriction forbids what is needed, and why.
func (f Restriction) refuses(table string, need rights) (why string, no bool) {
	if f == nil {
		return "", false
	}
	read, write, why := f(table)
	return why, need == mayRead && !read || need == mayWrite && !write
}

// rightsOf is CCF's permission matrix, and the rows of our own tables: rows are what a
// map's name begins with, case-sensitively. ok is false for a name that is reserved and belongs to no domain,
// of which no handle is given out.
//
//	                              GovRO  GovRW   AppRO  AppRW
//	public:ccf.internal.          read   read    read   read
//	public:ccf.gov.               read   rw      read   read
//	public:                       none   write   read   rw
//	ccf.internal., ccf.gov.       none   none    none   none
//	public:chancery.internal.     read   read    read   read
//	chancery.internal.            none   none    none   none
//	any other private name        none   none    read   rw
//	public:ccf., ccf.             no handle
func (a Access) rightsOf(table string) (r rights, ok bool) {
	name, public := strings.CutPrefix(table, "public:")
	app := inaccessible
	switch a {
	case AppReadWrite:
		app = mayRead | mayWrite
	case AppReadOnly:
		app = mayRead
	}
	switch {
	case strings.HasPrefix(name, "ccf.internal."), strings.HasPrefix(name, "chancery.internal."):
		return readIf(public), true
	case strings.HasPrefix(name, "ccf.gov."):
		if public && a == GovReadWrite {
			return mayRead | mayWrite, true
		}
		return readIf(public), true
	case strings.HasPrefix(name, "ccf."):
		return inaccessible, false
	case public && a == GovReadWrite:
		return mayWrite, true
	}
	return app, true
}

func readIf(public bool) rights {
	if public {
		return mayRead
	}
	return inaccessible
}

// refusal is CCF's text for a method that the matrix does not allow.
func refusal(method, table string, r rights, a Access) string {
	if method == "size" {
		return fmt.Sprintf("Cannot call %q on table named %s. ", method, table) // CCF's getter says no more
	}
	return fmt.Sprintf("Cannot call %q on table named %s. This table is %s in current (%s) execution context. See https://microsoft.github.io/CCF/main/audit/read_write_restrictions.html for more detail.",
		method, table, r, a)
}

// historicalRefusal is CCF's text for a writing method on a map of the past.
func historicalRefusal(method, table string) string {
	return fmt.Sprintf("Cannot call %q on table named %s. All tables are read-only during historical transaction.", method, table)
}

// reservedName is the text for a name of which there is no handle.
func reservedName(table string) string {
	return fmt.Sprintf("Map name '%s' includes disallowed reserved prefix 'ccf.'", strings.TrimPrefix(table, "public:"))
}
