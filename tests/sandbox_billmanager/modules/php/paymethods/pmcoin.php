#!/usr/bin/php
<?php

set_include_path(get_include_path() . PATH_SEPARATOR . "/usr/local/mgr5/include/php");
define("__MODULE__", "pmcoin");
require_once "bill_util.php";

$options = getopt("", array("command:", "payment:", "amount:"));

try {
    $command = $options["command"];
    Debug("command " . $command);
    if ($command == "config") {
        $config = simplexml_load_string($default_xml_string);
        $feature = $config->addChild("feature");
        foreach (array("redirect", "notneedprofile", "pmtune", "pmvalidate", "crvalidate", "crset", "crdelete", "refund", "rfset", "checkpay") as $name) {
            $feature->addChild($name, "on");
        }
        $config->addChild("param")->addChild("payment_script", "/mancgi/coinpayment.php");
        echo $config->asXML();
    } elseif ($command == "pmtune") {
        $form = simplexml_load_string(file_get_contents("php://stdin"));
        $list = $form->addChild("slist");
        $list->addAttribute("name", "network");
        $list->addChild("msg", "mainnet");
        $list->addChild("msg", "testnet");
        echo $form->asXML();
    } elseif ($command == "pmvalidate") {
        $form = simplexml_load_string(file_get_contents("php://stdin"));
        if (!preg_match("/^\d+$/", $form->shop_id)) {
            throw new BillException("value", "shop_id", $form->shop_id);
        }
        if ((string) $form->shop_key == "wrong") {
            throw new BillException("key_refused", "shop_key", "gateway said no");
        }
        $form->shop_id = ltrim($form->shop_id, "0");
        echo $form->asXML();
    } elseif ($command == "crvalidate") {
        $form = simplexml_load_string(file_get_contents("php://stdin"));
        if ($form->phone == "000") {
            throw new BillException("value", "phone", $form->phone);
        }
        $ok = $form->addChild("ok", "/mancgi/coinpayment.php?elid=" . $form->payment_id);
        $ok->addAttribute("type", "5");
        echo $form->asXML();
    } elseif ($command == "crset") {
        $id = $options["payment"];
        $info = LocalQuery("payment.info", array("elid" => $id));
        $shop = (string) $info->payment[0]->paymethod[1]->shop_id;
        LocalQuery("payment.setinpay", array("elid" => $id, "externalid" => "coin-" . $shop . "-" . $id,
            "info" => $info->payment[0]->currency[1]->iso . " " . $info->payment[0]->paymethodamount . " it's \"quoted\" = ok\nsecond line"));
    } elseif ($command == "crdelete") {
        LocalQuery("payment.delete", array("elid" => $options["payment"]));
    } elseif ($command == "rfset") {
        $form = simplexml_load_string(file_get_contents("php://stdin"));
        if ((string) $form->reason == "refuse") {
            throw new BillException("key_refused", "", "not today");
        }
    } elseif ($command == "checkpay") {
        $list = LocalQuery("payment", array("filter" => "on", "status" => "2"));
        foreach ($list->elem as $elem) {
            if ((string) $elem->paymethod_module == "pmcoin.php") {
                LocalQuery("payment.setpaid", array("elid" => (string) $elem->id, "externalid" => "", "info" => "checkpay"));
            }
        }
    } else {
        throw new BillException("unknown command");
    }
} catch (Exception $e) {
    echo $e;
}
