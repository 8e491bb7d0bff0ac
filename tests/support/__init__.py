"""What tests share: databases, running services, ledgers."""
