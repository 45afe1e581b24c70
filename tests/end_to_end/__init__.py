"""From outside: a real `authproxy serve`, Debian's nginx behind it, curl and other people's clients in front of it."""
