"""Who may: operators, their login and tokens, and the policy that several of them must agree on."""
