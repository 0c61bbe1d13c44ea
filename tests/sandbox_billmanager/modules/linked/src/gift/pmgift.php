#!/usr/bin/php
<?php

require_once __DIR__ . "/gift.php";  // beside the file that the link leads to

$options = getopt("", array("command:"));
if ($options["command"] == "config") {
    echo config(getenv("GIFT_SCRIPT") ?: "/mancgi/giftpayment.php");
}
