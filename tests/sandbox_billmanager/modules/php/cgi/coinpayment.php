#!/usr/bin/php
<?php

set_include_path(get_include_path() . PATH_SEPARATOR . "/usr/local/mgr5/include/php");
define("__MODULE__", "coinpayment");
require_once "bill_util.php";

echo "Content-Type: text/html\n\n";
$param = CgiInput();
if (empty($param["auth"])) {
    echo "no session";
    exit(0);
}
$info = LocalQuery("payment.info", array("elid" => $param["elid"]));
$who = LocalQuery("whoami", array(), $param["auth"]);
echo "<p>" . $info->payment[0]->id . " for " . $who->user["name"] . ": " . $info->payment[0]->paymethodamount . " "
    . $info->payment[0]->currency[1]->iso . " shop " . $info->payment[0]->paymethod[1]->shop_id . "</p>";
