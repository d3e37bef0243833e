package gov

import "chancery/gov/tables"

// MemberView is a member as the API shows it.
type MemberView struct {
	Certificate         string              `json:"certificate,omitempty"`
	MemberData          tables.Data         `json:"memberData"`
	MemberID            string              `json:"memberId"`
	PublicEncryptionKey string              `json:"publicEncryptionKey,omitempty"`
	RecoveryRole        tables.RecoveryRole `json:"recoveryRole"`
	Status              tables.MemberStatus `json:"status"`
}

func memberView(r tables.Reader, id string, m tables.Member) (*MemberView, error) {
	cert, _, err := tables.MembersCerts.Get(r, id)
	if err != nil {
		return nil, err
	}
	key, hasKey, err := tables.MembersEncryptionKeys.Get(r, id)
	if err != nil {
		return nil, err
	}
	role := m.RecoveryRole
	switch {
	case role != "":
	case hasKey:
		role = tables.Participant
	default:
		role = tables.NonParticipant
	}
	return &MemberView{
		MemberID: id, Status: m.Status, MemberData: m.Data,
		Certificate: cert, PublicEncryptionKey: key, RecoveryRole: role,
	}, nil
}

// Members returns all members, by id.
func Members(r tables.Reader) ([]*MemberView, error) {
	all, err := tables.MembersInfo.All(r)
	if err != nil {
		return nil, err
	}
	out := make([]*MemberView, len(all))
	for i, m := range all {
		if out[i], err = memberView(r, m.Key, m.Value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// GetMember returns one member.
func GetMember(r tables.Reader, id string) (*MemberView, error) {
	if err := checkMemberID(id); err != nil {
		return nil, err
	}
	m, ok, err := tables.MembersInfo.Get(r, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refuse(Missing, CodeResourceNotFound, "Member %s does not exist.", memberText(id))
	}
	return memberView(r, id, m)
}

// UserView is a user as the API shows it. UserData is the whole record of the user, an
// object with one member user_data, or null: clients of CCF know it so.
type UserView struct {
	Certificate string       `json:"certificate"`
	UserData    *tables.User `json:"userData"`
	UserID      string       `json:"userId"`
}

func userView(r tables.Reader, id, cert string) (*UserView, error) {
	info, ok, err := tables.UsersInfo.Get(r, id)
	if err != nil {
		return nil, err
	}
	v := &UserView{UserID: id, Certificate: cert}
	if ok {
		v.UserData = &info
	}
	return v, nil
}

// Users returns all users, by id.
func Users(r tables.Reader) ([]*UserView, error) {
	all, err := tables.UsersCerts.All(r)
	if err != nil {
		return nil, err
	}
	out := make([]*UserView, len(all))
	for i, u := range all {
		if out[i], err = userView(r, u.Key, u.Value); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// GetUser returns one user.
func GetUser(r tables.Reader, id string) (*UserView, error) {
	if !isHexID(id) {
		return nil, refuse(Invalid, CodeInvalidResourceName, "'%s' is not a valid hex-encoded user ID", id)
	}
	cert, ok, err := tables.UsersCerts.Get(r, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refuse(Missing, CodeResourceNotFound, "User %s does not exist.", userText(id))
	}
	return userView(r, id, cert)
}

// ShareView is a member's recovery share as the API shows it.
type ShareView struct {
	// EncryptedShare is under the member's RSA encryption key.
	EncryptedShare []byte `json:"encryptedShare"`
	MemberID       string `json:"memberId"`
}

// Share returns the encrypted recovery share of a member.
func Share(r tables.Reader, memberID string) (*ShareView, error) {
	if err := checkMemberID(memberID); err != nil {
		return nil, err
	}
	info, ok, err := tables.RecoveryShares.Get(r)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, failed("Failed to retrieve current recovery shares info")
	}
	share, ok := info.EncryptedShares[memberID]
	if !ok {
		return nil, refuse(Missing, CodeResourceNotFound, "Recovery share not found for member %s.", memberText(memberID))
	}
	return &ShareView{MemberID: memberID, EncryptedShare: share}, nil
}
