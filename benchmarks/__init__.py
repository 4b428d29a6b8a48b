"""What secguard costs, beside bare Django in the same run: ``make bench``."""
