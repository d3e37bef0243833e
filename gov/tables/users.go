package tables

// User is a row of users.info; a user without data has none.
type User struct {
	Data Data `json:"user_data"`
}

// Tables of users, by user id: the hex SHA-256 of the certificate (DER). A user exists
// when it has a certificate.
var (
	UsersInfo  = jsonMap[User](NameUsersInfo)
	UsersCerts = textMap(NameUsersCerts)
)
