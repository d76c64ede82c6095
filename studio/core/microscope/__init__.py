"""What single rows cost while a run learns from them: kept, read, judged and acted upon."""
