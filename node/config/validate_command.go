package config

import "fmt"

func (c *Command) validate(p *problems) {
	if c.ServiceCertificateFile == "" {
		p.add("command.service_certificate_file", "must not be empty")
	}
	switch c.Type {
	case CommandStart:
		c.section(p, "start")
		c.Start.validate(p, c.given["start"])
	case CommandJoin:
		c.section(p, "join")
		c.Join.validate(p)
	case CommandRecover:
		c.section(p, "recover")
		if c.given["recover"] && c.Recover.PreviousServiceIdentityFile == "" {
			p.add("command.recover.previous_service_identity_file", "is missing")
		}
	}
}

// section reports that the section of the command is not there.
func (c *Command) section(p *problems, name string) {
	if !c.given[name] {
		p.add("command."+name, "is missing, and command.type is %s", c.Type)
	}
}

func (s *Start) validate(p *problems, given bool) {
	if given && s.Members != nil && len(s.Members) == 0 {
		p.add("command.start.members", "must have at least one member")
	}
	for i, m := range s.Members {
		if m.CertificateFile == "" {
			p.add(fmt.Sprintf("command.start.members[%d].certificate_file", i), "must not be empty")
		}
	}
	checkSubject(p, "command.start.service_subject_name", s.ServiceSubjectName)
	s.threshold(p)
}

// threshold checks the recovery threshold against the members that receive a share or
// a full key, and replaces 0 by its meaning.
func (s *Start) threshold(p *problems) {
	var participants, owners int64
	for _, m := range s.Members {
		switch {
		case m.EncryptionPublicKeyFile == "":
		case m.RecoveryRole == "" || m.RecoveryRole == Participant:
			participants++
		case m.RecoveryRole == Owner:
			owners++
		}
	}
	const path = "command.start.service_configuration.recovery_threshold"
	t := &s.ServiceConfiguration.RecoveryThreshold
	onlyOwners := participants == 0 && owners > 0
	switch {
	case *t == 0 && onlyOwners:
		*t = 1
	case *t == 0:
		*t = participants
	case onlyOwners && *t > 1:
		p.add(path, "%d is more than 1, and all %d members with an encryption key are recovery owners", *t, owners)
	case !onlyOwners && *t > participants:
		p.add(path, "%d is more than the number of members that receive a recovery share (%d)", *t, participants)
	}
}

func (j *Join) validate(p *problems) {
	if j.TargetRPCAddress != "" {
		if err := checkAddress(j.TargetRPCAddress); err != nil {
			p.add("command.join.target_rpc_address", "%v", err)
		}
	}
	if j.HostDataTransparentStatementPath != "" {
		p.add("command.join.host_data_transparent_statement_path", "transparent statements are not supported; leave it out or null")
	}
}
